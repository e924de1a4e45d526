"""A single run: record, training and test."""
