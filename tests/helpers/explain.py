"""What the tests of test_explain.py share."""

from collections.abc import Callable

import pytest

from src.explain import main


@pytest.fixture
def explain(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        status = main(list(words))
        return status, *capfd.readouterr()

    return call
