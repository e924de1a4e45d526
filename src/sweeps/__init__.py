"""Sweeps: their own record, the search over a space, the pruning of trials, the leaderboard."""
