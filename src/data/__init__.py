"""Data sets: LightningDataModules, in memory as tensors on the training device or as image files."""
