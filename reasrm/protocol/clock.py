"""The clock that chat templates see. Some print today's date (`strftime_now`): Llama 3.2, gpt-oss, Granite, Mistral.

A prompt that changes overnight makes another judge every day: what was trained on Monday judges otherwise on Tuesday.
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

__all__ = ["CODES", "DAYS", "asks_for_day", "freeze", "frozen_day", "suggest_day"]

CODES = "frozen_day_codes"
"""Name of the template variable that the macro reads."""
DAYS = (date(2001, 2, 3), date(2014, 11, 26))
"""Two days that differ in everything: a template that shows both alike shows none."""
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


def freeze(template: Any, options: Mapping[str, TemplateOption], day: date | None = None) -> dict[str, Any]:
    """Return what `apply_chat_template` must be told so that this template sees a frozen clock; often nothing.

    Args:
        template: The chat template.
        options: Variables of the template.
        day: The day to show; by default the one of the options.
    """
    if not asks_for_day(template):
        return {}
    shown = day or frozen_day(options) or DAYS[0]
    midnight = datetime(shown.year, shown.month, shown.day)
    codes = {directive: midnight.strftime(directive) for directive in _DIRECTIVES}
    return {"chat_template": _MACRO + template, CODES: codes}


def frozen_day(options: Mapping[str, TemplateOption]) -> date | None:
    """Return the day that options freeze: `date_string` such as `2024-07-26`, `26 Jul 2024` or `July 26, 2024`.

    Anything else in `date_string`, which a template may still print as it is, is no day.
    """
    said = options.get("date_string")
    for form in _FORMATS if isinstance(said, str) else ():
        with suppress(ValueError):
            return datetime.strptime(str(said).strip(), form).date()
    return None


def suggest_day(template: str) -> str:
    """Return today as the template wants it, or as ISO 8601 where that could not be read back."""
    asked = _ASKED.search(template)
    form = asked[1] if asked is not None and asked[1] in _FORMATS else _FORMATS[0]
    return datetime.now().strftime(form)
