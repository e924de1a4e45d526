"""The system's Chromium, and what runs logged, with which its pages are compared."""

import os
import shutil

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.records.record import Record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="there is no Chromium on this machine"
)
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-sync"),
]


def events(record: Record) -> EventAccumulator:
    """Everything that a run logged."""
    return EventAccumulator(str(record.directory), size_guidance={"images": 0, "tensors": 0}).Reload()
