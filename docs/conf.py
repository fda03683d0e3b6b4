"""Sphinx configuration."""

from __future__ import annotations

import sys
from pathlib import Path

from trio_hub import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "trio_hub"
author = "The trio_hub developers"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
    "tables",
]
exclude_patterns = ["_build", "_ext", "changelog/fragments", "plots"]
html_theme = "furo"
html_title = f"trio_hub {release}"
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
default_role = "py:obj"
suppress_warnings = ["ref.python"]
