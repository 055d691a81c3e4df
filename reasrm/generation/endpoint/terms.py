"""What an endpoint was found to take and to be: parameters it refuses, the system role, the model it says it serves.

Found once, kept for the rest of the run, said once, and written into the run's manifest, where a continued run finds
it. A parameter counts as refused only when the same request was answered without it; so no refusal for another reason,
and no text of a row that an error repeats, takes a parameter away from the run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from reasrm.errors import ConfigError
from reasrm.generation.endpoint.keys import Address

__all__ = ["Terms"]

_LOG = logging.getLogger("reasrm")
_MOST_MODELS = 20
_OTHER_SERVER = "give the old address, begin anew with --restart, or pass --allow-other-server"
_SAID = {
    "temperature": "temperature is not sent any more: the server's own temperature is used, greedy is not promised",
    "top_p": "top_p is not sent any more: the server's own is used",
    "seed": "seed is not sent any more: draws cannot be repeated",
    "chat_template_kwargs": "chat_template_kwargs are not sent any more: the spec's template options have no effect",
    "max_tokens": "the limit is sent as max_completion_tokens",
    "system": "the system message is put in front of the first user message",
}


class Terms:
    """The terms of one endpoint. All methods may be called from several threads.

    Args:
        model: The model asked for.
        address: Where.
    """

    def __init__(self, model: str, address: Address) -> None:
        self.left_out: frozenset[str] = frozenset()
        self._model, self._address = model, address
        self._served: list[str] = []
        self._expected: frozenset[str] = frozenset()  # what an earlier run's server called itself
        self._note: Callable[[Mapping[str, Any]], None] | None = None
        self._lock = threading.Lock()
        self._is_news = False

    def attach(
        self,
        recorded: Mapping[str, Any],
        note: Callable[[Mapping[str, Any]], None],
        *,
        resumed: bool,
        allow_other: bool,
    ) -> list[str]:
        """Go on where an earlier run stopped, and note what is found from now on.

        Args:
            recorded: What that run noted.
            note: Keeps what is found.
            resumed: Whether there was one that recorded anything.
            allow_other: Whether another server may take over.

        Returns:
            What a person should know.

        Raises:
            ConfigError: It had asked another server.
        """
        said = []
        before = recorded.get("base_url") if resumed else None
        is_other = before is not None and before != self._address.shown
        if is_other and not allow_other:
            raise ConfigError(
                f"the output was begun with the server {before}, and now {self._address.shown} is asked",
                remedy=_OTHER_SERVER,
            )
        if is_other:
            said.append(f"the output was begun with the server {before}; {self._address.shown} goes on")
        elif resumed and before is None:
            said.append(
                f"the output does not say which server it was begun with; {self._address.shown} goes on with it"
            )
        with self._lock:
            self._note = note
            if resumed and not is_other:
                self.left_out |= frozenset(recorded.get("left_out", ())) & frozenset(_SAID)
                self._served = [str(name) for name in recorded.get("served_models", ())]
                self._expected = frozenset() if allow_other else frozenset(self._served)
            self._is_news = True
        self.pass_on()
        return said

    def learn(self, left_out: frozenset[str]) -> None:
        """Keep what a request was answered without."""
        with self._lock:
            new = left_out - self.left_out
            self.left_out |= new
            self._is_news |= bool(new)
        for name in sorted(new):
            _LOG.warning(
                "warning: the endpoint %s refuses %s", self._address.shown, f"{name!r}; {_SAID[name]}"
            )

    def see_model(self, name: str) -> None:
        """Keep what the server calls the model that answered.

        Raises:
            ConfigError: An earlier run of the same output was answered by other models only.
        """
        with self._lock:
            if self._expected and name not in self._expected:
                raise ConfigError(
                    f"the output was begun with the model {', '.join(map(repr, sorted(self._expected)))}, "
                    f"and the server now answers as {name!r}",
                    place=self._address.shown,
                    remedy="ask the old model, begin anew with --restart, or pass --allow-other-server",
                )
            self._expected = frozenset()
            if name in self._served or len(self._served) >= _MOST_MODELS:
                return
            self._served.append(name)
            self._is_news = True
            is_second = len(self._served) > 1
        if is_second:
            _LOG.warning("warning: %s answers as %r, too", self._address.shown, name)

    def pass_on(self) -> None:
        """Write down what is new, if a run is attached."""
        with self._lock:
            if not self._is_news or self._note is None:
                return
            self._is_news = False
            notes = {
                "base_url": self._address.shown,
                "model": self._model,
                "served_models": list(self._served),
                "left_out": sorted(self.left_out),
            }
        self._note(notes)
