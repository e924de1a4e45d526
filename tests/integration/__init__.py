"""Tests that train or start processes."""
