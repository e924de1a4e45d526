"""Every test below is marked slow: it takes long, or needs both cores to itself."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.slow)
