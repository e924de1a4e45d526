"""What the names of metrics say."""

import re

_MODES = {
    "min": {"loss", "error", "err", "mae", "mse", "rmse", "mape", "perplexity", "nll", "fid", "eer", "wer", "cer"},
    "max": {"acc", "accuracy", "f1", "auroc", "auc", "r2", "precision", "recall", "iou", "map", "bleu", "dice", "psnr"},
}


def mode_of(metric: str) -> str | None:
    """Whether a metric should fall (``min``) or rise (``max``), by the words in its name; None if they do not say."""
    words = {*re.split(r"[^a-z0-9]+", metric.lower())}
    found = [mode for mode, known in _MODES.items() if words & known]
    return found[0] if len(found) == 1 else None
