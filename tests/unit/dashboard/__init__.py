"""Tests of src/dashboard/."""
