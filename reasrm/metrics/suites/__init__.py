"""The suites that `reasrm eval` knows, one file each."""

from __future__ import annotations

from reasrm.config import nearest
from reasrm.errors import ConfigError
from reasrm.metrics.suite import Suite
from reasrm.registry import instances

__all__ = ["SUITES", "get_suite"]

SUITES: tuple[Suite, ...] = instances(__name__, Suite)


def get_suite(name: str) -> Suite:
    """Return a suite by name.

    Raises:
        ConfigError: No such suite; names the nearest.
    """
    for suite in SUITES:
        if suite.name == name:
            return suite
    names = [suite.name for suite in SUITES]
    guess = nearest(name, names)
    raise ConfigError(
        f"no suite {name!r}", remedy=f"did you mean {guess!r}?" if guess else f"one of: {', '.join(names)}"
    )
