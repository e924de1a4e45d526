"""Tests of src/sweeps/."""
