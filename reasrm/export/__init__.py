"""From a trained checkpoint to a judge folder that stands alone, compared with its source before it is called done."""

from __future__ import annotations

from reasrm.export.folder import export_judge

__all__ = ["export_judge"]
