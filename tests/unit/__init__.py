"""Tests of single packages, in this process and without a training."""
