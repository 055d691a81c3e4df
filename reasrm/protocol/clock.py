"""The clock that chat templates see. Some print today's date (`strftime_now`): Llama 3.2, gpt-oss, Granite, Mistral.

A prompt that changes overnight makes another judge every day: what was trained on Monday is judged otherwise on Tuesday.
So templates never see the real clock. They see the day that a spec froze, in its template option `date_string`.

Transformers takes only plain data for a template, so the frozen clock is a macro in front of it, which has the name of
the function it stands for and looks up what `strftime` makes of the day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from typing import Any

from reasrm.requests import TemplateOption

__all__ = ["CODES", "asks_for_day", "frozen_codes", "frozen_day", "suggest_day", "with_frozen_clock"]

CODES = "frozen_day_codes"
"""Name of the template variable that the macro reads."""
_FORMATS = ("%Y-%m-%d", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%m-%Y", "%Y/%m/%d", "%d.%m.%Y")
_DIRECTIVES = [f"%{flag}{letter}" for flag in ("-", "") for letter in "aAbBcdDeFgGhHIjmMnpRsSTuUVwWxXyYzZ%"]
_ASKED = re.compile(r"strftime_now\(\s*['\"]([^'\"]*)['\"]")
# The template begins on a line of its own, whose break Jinja takes away with the tag before it.
_MACRO = (
    "{%- macro strftime_now(format) -%}{%- set said = namespace(text=format) -%}"
    f"{{%- for code, value in {CODES}.items() -%}}"
    "{%- set said.text = said.text | replace(code, value) -%}{%- endfor -%}{{ said.text }}{%- endmacro %}\n"
)


def asks_for_day(template: Any) -> bool:
    """Tell whether a chat template asks for the day at all, printed or not."""
    return isinstance(template, str) and "strftime_now" in template


def with_frozen_clock(template: str) -> str:
    """Return the template with a clock that shows what the variable `CODES` says."""
    return _MACRO + template


def frozen_day(options: Mapping[str, TemplateOption]) -> date | None:
    """Return the day that options freeze: `date_string` such as `2024-07-26`, `26 Jul 2024` or `July 26, 2024`.

    Anything else in `date_string`, which a template may still print as it is, is no day.
    """
    said = options.get("date_string")
    for form in _FORMATS if isinstance(said, str) else ():
        with suppress(ValueError):
            return datetime.strptime(str(said).strip(), form).date()
    return None


def frozen_codes(day: date) -> dict[str, str]:
    """Return what `strftime` makes of each of its directives at the day's midnight."""
    midnight = datetime(day.year, day.month, day.day)
    return {directive: midnight.strftime(directive) for directive in _DIRECTIVES}


def suggest_day(template: str) -> str:
    """Return today as the template wants it, or as ISO 8601 where that could not be read back."""
    asked = _ASKED.search(template)
    form = asked[1] if asked is not None and asked[1] in _FORMATS else _FORMATS[0]
    return datetime.now().strftime(form)
