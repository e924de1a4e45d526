"""Records of runs and sweeps, and their lookup."""
