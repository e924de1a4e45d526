"""Sweeps: the lifecycle of a sweep and its jobs, searches with Optuna, pruning of trials, importance of settings."""
