"""Tests of src/fast/."""
