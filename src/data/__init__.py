"""Data sets as tensors on the training device, cut into chunks of batches."""
