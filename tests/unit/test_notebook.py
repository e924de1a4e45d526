"""The notebook does what it says, cell by cell, in a kernel of its own, wherever it is opened."""

import nbformat

from tests.helpers.notebook import NOTEBOOK


def test_it_is_kept_without_what_it_printed():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert 8 <= len(notebook.cells) <= 12
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
