"""Configuration of Sphinx; ``make docs`` builds the site from the root of the project."""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

from docs.generate import relinked, write_pages
from src.paths import ROOT

_PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Experiment tracking"
release = _PYPROJECT["version"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_argparse_cli", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpicky = True
# Classes of other packages and of modules that are not described; docstrings name errors without their module.
nitpick_ignore_regex = [
    ("py:class", r"(pl|pd|Path|pathlib|collections|torch|Tensor|src\.(data|tasks))\b.*|dict\[str"),
    ("py:exc", r"\w+Error|RunNotFound|KeyboardInterrupt"),
]

myst_heading_anchors = 3
nb_execution_mode = "off"
smartquotes = False
highlight_language = "none"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
copybutton_prompt_text = "$ "

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = "Experiment tracking"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False


def _relink(app: Sphinx, page: str, source: list[str]) -> None:
    path = Path(app.env.doc2path(page))
    source[0] = relinked(source[0], path, path)


def setup(app: Sphinx) -> None:
    """Generate the remaining pages before Sphinx looks for pages, and adapt the links of the others."""
    app.connect("builder-inited", lambda _: write_pages())
    app.connect("source-read", _relink)
