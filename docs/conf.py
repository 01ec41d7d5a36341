"""The documentation as a site: `sphinx-build -W docs site`, in a checkout with `pip install '.[docs]'`."""

from __future__ import annotations

import re
from importlib.metadata import version as installed_version

from sphinx.application import Sphinx

project = "vmnat-relay"
author = "The vmnat-relay authors"
version = release = installed_version(project)
html_title = f"{project} {version}"
html_theme = "furo"
html_copy_source = False

extensions = ["myst_parser"]
myst_heading_anchors = 3
nitpicky = True

_REPOSITORY = "https://github.com/vmnat-relay/vmnat-relay/blob/main/"
_OUTWARD = re.compile(r"\]\((?:\.\./)+((?!profiles\.md)[^)\s]+)\)")
_PROFILE = re.compile(r"\]\((profiles/[\w-]+)\.md\)")
_PAGE = re.compile(r"\]\(([\w-]+)\.md\)")


def _adapt(_app: Sphinx, page: str, source: list[str]) -> None:
    """Make of a page, which reads well in a checkout, what the site needs.

    Links out of docs/ lead to the repository. The pages that the index links to are the site's table of contents; those
    of the profiles are below the one that lists them.
    """
    below = {"index": _PAGE.findall(source[0]), "profiles": _PROFILE.findall(source[0])}
    if page in below:
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *below[page], "```", ""])
    source[0] = _OUTWARD.sub(rf"]({_REPOSITORY}\1)", source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", _adapt)
