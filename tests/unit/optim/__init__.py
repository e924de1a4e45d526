"""Tests of src/optim/."""
