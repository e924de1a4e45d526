"""The run table: finding, comparing and clearing away runs, from their records alone. Imports no torch."""
