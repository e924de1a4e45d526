"""Tests, and what they share."""

import src  # noqa: F401  # sets MKL's and OpenMP's environment before any of these modules imports torch
