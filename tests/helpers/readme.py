"""The pages that test_docs.py and test_readme.py share."""

import re

from src.paths import ROOT

# README and the guides whose commands users paste.
GUIDES = [
    "README.md",
    *(f"docs/{name}.md" for name in ("training", "runs", "resume", "models", "sweeps", "distributed", "extending")),
]
TEXT = "\n".join((ROOT / name).read_text() for name in GUIDES)

# "..., `conf/optimizer/radam.yaml`:" and then a block: a file and what is in it.
FILES = dict(re.findall(r"`((?:src|conf)/\w+/\w+\.\w+)`[^`]*:\n\n```\w+\n(.*?)```", TEXT, re.DOTALL))
