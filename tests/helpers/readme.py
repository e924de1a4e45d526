"""What the tests of test_readme.py share."""

import re

from src.paths import ROOT

README = (ROOT / "README.md").read_text()


# "..., `conf/optimizer/radam.yaml`:" and then a block: a file and what is in it.
FILES = dict(re.findall(r"`((?:src|conf)/\w+/\w+\.\w+)`[^`]*:\n\n```\w+\n(.*?)```", README, re.DOTALL))
