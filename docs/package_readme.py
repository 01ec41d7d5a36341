"""The README as a package index shows it: links to this repository's files lead to the repository.

Hatchling calls this while it builds (`[tool.hatch.metadata.hooks.custom]` in pyproject.toml).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LOCAL_LINK = re.compile(r"\]\((?!https?://|#)([^)\s]+)\)")


class ReadmeHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        files = metadata["urls"]["Source"] + "/blob/main"
        metadata["readme"] = {"content-type": "text/markdown", "text": _LOCAL_LINK.sub(rf"]({files}/\1)", text)}
