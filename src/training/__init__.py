"""One training, from its record to its test."""
