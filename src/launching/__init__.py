"""Which devices there are, the processes that train on them, and what happens when they are told to stop."""
