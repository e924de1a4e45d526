"""What the tests of docs/your-own.md share."""

import re

from src.paths import ROOT

PAGE = (ROOT / "docs" / "your-own.md").read_text()


def blocks(language: str) -> list[str]:
    """The blocks of code of one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]
