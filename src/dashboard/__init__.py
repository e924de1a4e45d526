"""TensorBoard over chosen runs, under names that can be read."""
