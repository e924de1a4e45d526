"""Composition and validation of the configuration, from command line to plain dict. Imports neither torch nor Lightning."""
