"""Benchmarks: the time of an epoch compared with a reference loop, startup time, memory."""

import os

# The user's environment. ``src`` sets variables for its own process, which the reference loops must not inherit.
ENVIRONMENT = dict(os.environ)
