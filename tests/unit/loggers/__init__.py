"""Tests of src/loggers/."""
