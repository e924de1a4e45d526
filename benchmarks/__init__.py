"""What an epoch costs, measured beside the same work written by hand."""

import os

# As the user has it. ``src`` sets variables for itself, which loops without it are not to have.
ENVIRONMENT = dict(os.environ)
