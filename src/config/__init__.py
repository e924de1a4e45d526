"""From a command line to a checked, plain dict. Nothing here imports torch or Lightning."""
