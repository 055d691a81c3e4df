"""A reward of the user's own: a function in a Python file."""

from __future__ import annotations

import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Literal

from reasrm.config import nearest
from reasrm.errors import ConfigError
from reasrm.rewards.base import ALONE, Helpers, Part, RewardPart


class PythonPart(RewardPart):
    """A function of your own, in a file of your own.

    formula: yours: `def name(rollouts)` takes all rollouts of the global generation batch, of all processes (of a
        refill the new groups alone), and returns one number for each, in their order; None abstains
    source: `reasrm.rewards.base`: `Rollout` says what it may look at; under `@each_row` a function of one rollout
        will do
    abstains: where it returns None

    The file is run, with all that you may do, by the command whose config names it and by nothing else: a judge
    folder holds no code, and its card has no more than the file's name. It is run in each process of a launch and by
    `--dry-run`; its SHA-256 is said at the start and kept in the run's manifest, and `--resume` refuses another. That
    speaks of this file alone, not of modules that it imports. Its values should depend on the rollouts only, or a
    resumed run is another.

    Args:
        file: The Python file; a relative path starts where the command is run.
        name: The function in it.
    """

    kind: Literal["python"] = "python"
    file: str
    name: str

    @property
    def code(self) -> Path:
        """The file."""
        return Path(self.file)

    def build(self, helpers: Helpers = ALONE) -> Part:
        """Run the file and return its function.

        Raises:
            ConfigError: There is no such file or function, the file throws, or the function takes something else.
        """
        function = getattr(module := _run(self.file), self.name, None)
        if not callable(function):
            known = [name for name, value in vars(module).items() if inspect.isfunction(value)]
            guess = nearest(self.name, known)
            raise ConfigError(
                f"has no function {self.name!r}",
                place=self.file,
                remedy=f"did you mean {guess!r}?" if guess else f"it has: {', '.join(known) or 'none'}",
            )
        try:
            fits = inspect.signature(function).bind([]) and not inspect.iscoroutinefunction(function)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ConfigError(
                f"{self.name} cannot be called with one list of rollouts",
                place=self.file,
                remedy=f"write def {self.name}(rollouts): and return one number, or None, for each",
            )
        part: Part = function
        return part


def _run(file: str) -> ModuleType:
    """Return the module that a file makes. What is run is what was read: no compiled file of an older day."""
    try:
        source = Path(file).read_bytes()
    except OSError as error:
        remedy = "name a Python file in `file`"
        raise ConfigError(f"cannot be read: {error.strerror}", place=file, remedy=remedy) from error
    module = ModuleType(f"reasrm_part_{Path(file).stem}")
    module.__file__ = file
    sys.modules[module.__name__] = module  # where its dataclasses look for themselves
    try:
        exec(compile(source, file, "exec", dont_inherit=True), vars(module))  # noqa: S102 - the user's, see the class
    except (Exception, SystemExit) as error:
        trace = traceback.extract_tb(error.__traceback__)
        lines = (
            [error.lineno]
            if isinstance(error, SyntaxError)
            else [f.lineno for f in trace if f.filename == file]
        )
        place = ":".join(str(part) for part in (file, *lines[-1:]) if part)
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(said, place=place, remedy="correct it") from error
    return module
