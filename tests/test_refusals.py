"""What every refusal has in common: its exit code by kind, one line, where, what is wrong, what to do."""

from __future__ import annotations

import pytest

from reasrm.durable import IdentityMismatch
from reasrm.errors import (
    ConfigError,
    EnvironmentProblem,
    InputError,
    LockedError,
    MissingExtraError,
    ReasrmError,
    RowError,
)
from reasrm.rewards.base import RewardProblem
from reasrm.runs.seals import DamagedCheckpoint
from tests.refusals import misshapen, refused

# Kind → exit code, and the standard error that a caller may catch in its place.
KINDS = {
    ConfigError: (2, ValueError),
    IdentityMismatch: (2, ValueError),
    RewardProblem: (3, RuntimeError),
    InputError: (4, ValueError),
    RowError: (4, ValueError),
    DamagedCheckpoint: (5, OSError),
    EnvironmentProblem: (5, OSError),
    MissingExtraError: (5, OSError),
    LockedError: (75, RuntimeError),
}


def test_a_kind_is_an_exit_code_and_a_standard_error() -> None:
    for kind, (code, standard) in KINDS.items():
        assert (kind.exit_code, issubclass(kind, standard), issubclass(kind, ReasrmError)) == (
            code,
            True,
            True,
        )


def test_a_refusal_is_one_line_whatever_a_library_says() -> None:
    error = ConfigError(
        "is not YAML: found a tab\n  in line 3\u2028  column 4\n", place="a.yaml", remedy="use spaces"
    )
    assert str(error) == "a.yaml: is not YAML: found a tab in line 3 column 4; use spaces"


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        (ConfigError("x is 7", place="a.yaml"), False),
        (InputError("x is 7", remedy="make it 8"), False),
        (EnvironmentProblem("the disk is full"), True),
        (ConfigError(" ", place="a.yaml"), True),
        (ConfigError("x", place="a\nb"), False),
    ],
)
def test_what_tells_a_user_too_little_is_found(error: ReasrmError, wrong: bool) -> None:
    assert (misshapen(error) is not None) == wrong


@pytest.mark.parametrize(
    ("named", "remedy"), [((), "use 8"), (("a.yaml", 7, "use 8"), "use 8"), (("9",), "use 8"), ((), None)]
)
def test_a_table_row_looks_at_what_is_named_and_at_the_remedy(
    named: tuple[object, ...], remedy: str | None
) -> None:
    def check() -> None:
        with refused(ConfigError, *named):
            raise ConfigError("x is 7", place="a.yaml", remedy=remedy)

    if "9" in named or remedy is None:
        with pytest.raises(AssertionError):
            check()
    else:
        check()
