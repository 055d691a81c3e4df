"""The clock that chat templates see. Some print today's date (`strftime_now`): Llama 3.2, gpt-oss, Granite, Mistral.

A prompt that changes overnight makes another judge every day: what was trained on Monday is judged otherwise on Tuesday.
So templates never see the real clock. They see the day that a spec froze, in its template option `date_string`.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from reasrm.requests import TemplateOption

__all__ = ["FrozenClock"]

_FORMATS = ("%Y-%m-%d", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%m-%Y", "%Y/%m/%d", "%d.%m.%Y")
_NO_DAY = datetime(2000, 1, 1)


class FrozenClock:
    """Stands in for `strftime_now`.

    Args:
        day: A day such as `2024-07-26`, `26 Jul 2024` or `July 26, 2024`. Anything else, which a template may still
            print as it is, sets no day.
    """

    def __init__(self, day: TemplateOption | None = None) -> None:
        self._day = _parse(day) if isinstance(day, str) else None
        self._asked: str | None = None

    @property
    def is_set(self) -> bool:
        """Whether the day is one that somebody chose."""
        return self._day is not None

    def __call__(self, format: str) -> str:
        """Return the frozen midnight in a format of `strftime`."""
        self._asked = format
        return (self._day or _NO_DAY).strftime(format)

    def suggestion(self) -> str:
        """Return today, as the template wants it, or ISO 8601 where that could not be read back."""
        asked = self._asked if self._asked in _FORMATS else _FORMATS[0]
        return datetime.now().strftime(asked)


def _parse(day: str) -> datetime | None:
    for form in _FORMATS:
        with suppress(ValueError):
            return datetime.strptime(day.strip(), form)
    return None
