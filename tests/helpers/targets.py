"""What the tests of test_targets.py share."""

from src.config.command_line import parse
from src.config.compose import preflight

CONFIG = preflight(parse([]))[0]
