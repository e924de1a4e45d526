"""Loggers: TensorBoard, CSV, Weights & Biases, MLflow."""
