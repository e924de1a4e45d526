"""Modes of metrics by their names."""

import re

_MODES = {
    "min": {"loss", "error", "err", "mae", "mse", "rmse", "mape", "perplexity", "nll", "fid", "eer", "wer", "cer"}
    | {"latency", "parameters", "bytes", "flops"},
    "max": {"acc", "accuracy", "f1", "auroc", "auc", "r2", "precision", "recall", "iou", "map", "bleu", "dice", "psnr"},
}


def mode_of(metric: str) -> str | None:
    """Infer the mode of a metric, ``min`` or ``max``, from the words in its name; None if they do not determine it."""
    words = {*re.split(r"[^a-z0-9]+", metric.lower())}
    found = [mode for mode, known in _MODES.items() if words & known]
    return found[0] if len(found) == 1 else None
