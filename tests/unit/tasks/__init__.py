"""Tests of src/tasks/."""
