"""The files that the guides show, which test_docs.py and test_readme.py share."""

import re

from src.paths import ROOT

# "..., `conf/optimizer/radam.yaml`:" and then a block: a file and what is in it.
FILES = dict(
    re.findall(
        r"`((?:src|conf)/\w+/\w+\.\w+)`[^`]*:\n\n```\w+\n(.*?)```",
        (ROOT / "docs" / "extending.md").read_text(),
        re.DOTALL,
    )
)
