"""Loggers: TensorBoard and CSV."""
