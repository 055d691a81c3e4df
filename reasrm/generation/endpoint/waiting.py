"""How long to wait before a request is sent again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["back_off_s", "retry_after_s"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0


def back_off_s(num_calls: int) -> float:
    """Return the pause after so many calls, doubled each time up to eight seconds."""
    return min(_FIRST_PAUSE_S * 2.0 ** min(num_calls - 1, 10), _LONGEST_PAUSE_S)


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the pause that `Retry-After` asks for, in seconds or as an HTTP date; None if it asks for none.

    What is past, negative, infinite or no time at all asks for none.
    """
    text = headers.get("retry-after", "").strip()
    seconds = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s?", text)
    if seconds:
        pause_s = float(seconds[1])
    else:
        try:
            when = parsedate_to_datetime(text)
            when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
            pause_s = (when - (now or datetime.now(UTC))).total_seconds()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return pause_s if math.isfinite(pause_s) and pause_s > 0 else None
