"""`reasrm configs` and `reasrm specs`: what ships with the package, to be listed, read, copied and tried."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from reasrm.cli.console import note, print_summary
from reasrm.cli.summary import progress
from reasrm.config import nearest, shipped_config, shipped_configs
from reasrm.errors import ConfigError, InputError
from reasrm.protocol.parsing import parse
from reasrm.protocol.spec import JudgeSpec, builtin_specs, load_spec
from reasrm.records import Judgment
from reasrm.requests import Completion

__all__ = ["SEPARATOR", "copy_configs", "show_configs", "show_specs", "try_spec"]

SEPARATOR = "===="
"""A line of it and nothing else stands between two answers of a text file."""


def show_configs(name: str | None) -> None:
    """List the configs with what each begins by saying, or print one as it is.

    Raises:
        ConfigError: No config has this name; the nearest one is named.
    """
    known = shipped_configs()
    if name is None:
        for config, path in known.items():
            print(f"{config}: {_first_sentence(path)}" if path.suffix == ".yaml" else config)
        print_summary({"command": "configs", "configs": list(known)})
        return
    found = shipped_config(name)
    if found is None:
        guess = nearest(name.removeprefix("configs/"), known)
        raise ConfigError(
            f"no config {name!r}",
            remedy=f"did you mean {guess!r}?" if guess else "reasrm configs lists them",
        )
    text = found.read_text(encoding="utf-8")
    print(text, end="" if text.endswith("\n") else "\n")
    print_summary(
        {
            "command": "configs",
            "config": next(key for key, path in known.items() if path == found),
            "text": text,
        }
    )


def _first_sentence(path: Path) -> str:
    """Return what the comment at the head of a file says, up to its first full stop at the end of a word."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line.lstrip("# ") for line in lines if line.startswith("#")]
    text = " ".join(head) if lines and lines[0].startswith("#") else ""
    return text.split(". ")[0].removesuffix(".")


def copy_configs(folder: Path) -> None:
    """Copy all configs into a new folder, so that paths such as `configs/deepspeed/zero3.json` hold beside it.

    Raises:
        ConfigError: The folder exists.
    """
    if folder.exists():
        raise ConfigError("exists already", place=str(folder), remedy="choose another --copy, or remove it")
    known = shipped_configs()
    for name, path in known.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    note(f"{len(known)} files in {folder}; start a stage with: accelerate launch -m reasrm sft --config …")
    print_summary({"command": "configs", "output": str(folder), "configs": list(known)})


def show_specs(name: str | None) -> None:
    """List the built-in specs, or show one whole: for people above, as JSON on the last line."""
    if name is not None:
        spec = load_spec(name)
        print(_readable(spec))
        shown: dict[str, Any] = spec.model_dump(mode="json")
        print_summary({"command": "specs", "hash": spec.hash, "spec": shown})
        return
    specs = [load_spec(known) for known in builtin_specs()]
    for spec in specs:
        print(f"{spec.name} ({spec.protocol}, {spec.hash}): {spec.description}")
    print_summary({"command": "specs", "specs": {spec.name: spec.hash for spec in specs}})


def _readable(spec: JudgeSpec) -> str:
    sampling = ", ".join(f"{name} {value:g}" for name, value in spec.sampling.model_dump().items())
    lines = [
        f"{spec.name} ({spec.protocol}, hash {spec.hash})",
        spec.description,
        f"source: {spec.source}",
        f"sampling: {sampling}",
        f"needs: {', '.join(spec.requires) or 'nothing beyond prompt and responses'}",
    ]
    if spec.protocol == "pairwise":
        lines.append(f"verdicts: {', '.join(spec.allowed_verdicts)}")
    if spec.template_options:
        lines.append(f"chat template: {spec.template_options}")
    lines.append("grammar:")
    grammar = spec.grammar.model_dump(mode="json", exclude_none=True)
    for name, value in grammar.items():
        if value not in ((), [], {}):
            lines.append(f"  {name}: {_plain(value)}")
    for message in spec.messages:
        lines += ["", f"[{message.role}]", message.text.rstrip("\n")]
    return "\n".join([*lines, ""])


def _plain(value: Any) -> str:
    """Return a value of a grammar for people: literals in quotes, a menu as `word → meaning`."""
    if isinstance(value, dict):
        return ", ".join(
            f"{word!r} → {entry['winner']}" + (f" ({entry['strength']})" if "strength" in entry else "")
            for word, entry in value.items()
        )
    if isinstance(value, list):
        return " ".join(map(repr, value))
    return repr(value) if isinstance(value, str) else str(value)


def try_spec(name: str, answers: Path) -> None:
    """Read answers with a spec's grammar, and say what each comes to; no model is asked.

    Args:
        name: A built-in spec, a spec file or a judge folder.
        answers: JSONL with one answer a line, a string or an object with `text`; or a text with lines of `====`
            between answers.

    Raises:
        ConfigError: There is no such spec.
        InputError: The file cannot be read, or holds no answer.
    """
    spec = load_spec(name)
    texts = _answers(answers)
    statuses: Counter[str] = Counter()
    read = []
    for number, text in enumerate(texts, 1):
        judgment = parse(spec, Completion(str(number), text))
        statuses[judgment.status.value] += 1
        read.append(_opinion(judgment))
        said = read[-1] if judgment.detail is None else f"{read[-1]} ({judgment.detail})"
        print(f"{number}: {judgment.status.value}: {said}")
        for part in ("rubric", "critique"):
            if (found := getattr(judgment, part)) is not None:
                print(f"    {part}: {' '.join(found.split())[:200]}")
    print_summary(
        {
            "command": "specs test",
            "spec": spec.name,
            "hash": spec.hash,
            "progress": progress("answers", len(texts), len(texts)),
            "answers": len(texts),
            "statuses": dict(statuses),
            "read": read,
        }
    )


def _opinion(judgment: Judgment) -> str | float | list[int] | None:
    if judgment.verdict is not None:
        return judgment.verdict.winner
    return list(judgment.ranking) if judgment.ranking is not None else judgment.score


def _answers(path: Path) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", place=str(path)) from error
    if path.suffix == ".jsonl":
        found = [_answer(line, f"{path}:{n}") for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    else:
        found = [""]
        for line in text.splitlines(keepends=True):
            if line.strip() == SEPARATOR:
                found.append("")
            else:
                found[-1] += line
        found = found if len(found) > 1 or found[0].strip() else []
    if not found:
        raise InputError(
            "holds no answer", place=str(path), remedy=f"put lines of {SEPARATOR} between answers"
        )
    return found


def _answer(line: str, place: str) -> str:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError(f"is no JSON: {error}", place=place) from error
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise InputError("is no answer", place=place, remedy='write a string, or an object with "text"')
    return text
