"""Data sets of the Hub: `hf://owner/name[@revision][:config][/split]`, streamed by `datasets`.

A revision is resolved to a commit before anything is read; rows, identity and resume speak of that commit. The server
is what `HF_ENDPOINT` says, a token what the Hub's own client finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from reasrm.errors import EnvironmentProblem, InputError
from reasrm.tables.formats import Rows

__all__ = ["HubSet", "hub_rows", "resolve"]

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ADDRESS = re.compile(
    rf"hf:/{{1,2}}(?P<name>{_NAME}/{_NAME})(@(?P<revision>[^:@]+?))?(:(?P<config>[^:/@]+))?(/(?P<split>[^:/@]+))?"
)


@dataclass(frozen=True, slots=True)
class HubSet:
    """A data set at one commit.

    Args:
        address: What the user wrote.
        name: Owner and name.
        commit: The resolved revision.
        config: Its configuration, if one was named.
        split: Its split, if one was named.
    """

    address: str
    name: str
    commit: str
    config: str | None
    split: str | None

    @property
    def identity(self) -> list[str | None]:
        """What decides its rows."""
        return ["hf", self.name, self.commit, self.config, self.split]


@cache
def resolve(address: str) -> HubSet:
    """Return the data set of an address at the commit that its revision is now; asked once per process.

    Raises:
        InputError: The address cannot be read, or there is no such data set or revision.
        EnvironmentProblem: The Hub cannot be reached.
    """
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise InputError(
            "is no address of a data set",
            place=address,
            remedy="write hf://owner/name[@revision][:config][/split]",
        )
    from huggingface_hub import HfApi

    with _telling(address):
        commit = HfApi().dataset_info(parts["name"], revision=parts["revision"]).sha
    if commit is None:
        raise EnvironmentProblem("the Hub names no commit", place=address)
    return HubSet(address, parts["name"], commit, parts["config"], parts["split"])


def hub_rows(address: str) -> Rows:
    """Yield the rows of a data set, a batch in memory at a time.

    Raises:
        InputError: There is no such data set, configuration or split, or several splits and none is named.
        EnvironmentProblem: The Hub cannot be reached.
    """
    found = resolve(address)
    with _telling(address):
        rows = iter(_opened(found))
    number = 0
    while True:
        with _telling(address):
            row = next(rows, None)
        if row is None:
            return
        number += 1
        yield number, row


def _opened(found: HubSet) -> Any:
    from datasets import IterableDataset, load_dataset

    told = {"name": found.config, "revision": found.commit, "split": found.split, "streaming": True}
    rows = load_dataset(found.name, **told)
    if isinstance(rows, IterableDataset):
        return rows
    if len(rows) == 1:
        return next(iter(rows.values()))
    raise InputError(
        f"has the splits {', '.join(map(repr, rows))}",
        place=found.address,
        remedy=f"name one: {found.address.rstrip('/')}/{next(iter(rows))}",
    )


@contextmanager
def _telling(address: str) -> Iterator[None]:
    """Turn the libraries' errors into ours: what is not there is the input's fault, the rest the connection's."""
    try:
        yield
    except (InputError, EnvironmentProblem):
        raise
    except (ValueError, FileNotFoundError) as error:
        raise InputError(f"cannot be opened: {_short(error)}", place=address) from error
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403, 404):
            raise InputError(
                f"cannot be opened: the Hub answers {status}",
                place=address,
                remedy="check owner, name and revision; a gated set needs a token in HF_TOKEN",
            ) from error
        raise EnvironmentProblem(
            f"cannot be read: {type(error).__name__}: {_short(error)}",
            place=address,
            remedy="check the network and HF_ENDPOINT, and run again",
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
