"""Tests of src/launching/."""
