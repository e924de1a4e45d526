"""Analysis of trained models: evaluation, prediction, attribution, calibration, robustness and export."""
