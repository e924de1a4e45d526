"""Tests of src/records/."""
