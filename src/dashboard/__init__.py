"""TensorBoard for selected runs, with readable names."""
