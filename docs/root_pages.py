"""For `make docs`: README, CONTRIBUTING and CHANGELOG become pages of the site, their links led to its other pages.

A link to a file that is no page, such as a module, becomes its name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
FROM_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie at the root of the repository."""
    for name, page in FROM_ROOT.items():
        text = re.sub(r"(\]\()([^)\s#]+)([^)\s]*\))", _led, (ROOT / name).read_text(encoding="utf-8"))
        text = re.sub(r"\[([^]\n]*)\]\(\)", _named, text)
        files.append(File.generated(config, page, content=text))
    return files


def _led(link: re.Match[str]) -> str:
    before, path, after = link.groups()
    if path.startswith("docs/"):
        return before + path.removeprefix("docs/") + after
    if path in FROM_ROOT:
        return before + FROM_ROOT[path] + after
    return link[0] if ":" in path else "]()"


def _named(link: re.Match[str]) -> str:
    return f"`{link[1]}`".replace("\\", "")
