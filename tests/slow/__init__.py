"""Tests that take long, or need both cores to themselves."""
