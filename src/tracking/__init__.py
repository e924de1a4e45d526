"""A run's directory, its record, its curves, and how it is found again."""
