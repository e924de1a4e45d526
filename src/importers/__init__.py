"""Runs of other trackers, read from their files: MLflow and TensorBoard."""
