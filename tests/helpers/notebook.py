"""What the tests of test_notebook.py share."""

from src.paths import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
