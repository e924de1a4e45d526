"""Tests of src/config/."""
