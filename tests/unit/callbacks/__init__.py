"""Tests of src/callbacks/."""
