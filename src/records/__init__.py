"""The records of runs and sweeps, and finding them."""
