"""Tests of src/views/."""
