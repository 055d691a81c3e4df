"""From a trained checkpoint to a judge folder that stands alone, compared with its source before it is called done."""

from __future__ import annotations

from reasrm.export.folder import FORMAT_VERSION, export_judge

__all__ = ["FORMAT_VERSION", "export_judge"]
