"""GPUs shared out among the jobs of a sweep."""

import os
from pathlib import Path

import pytest

from src.launching.share import gpus_of_a_job

# -- the search itself, with jobs that only write their record


def test_gpus_are_shared_out_among_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SWEEP_JOBS_AT_ONCE", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = ["0", "1", "4", "5"]
    with gpus_of_a_job(tmp_path, gpus, wanted=2):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        with gpus_of_a_job(tmp_path, gpus, wanted=2):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with gpus_of_a_job(tmp_path, ["7"], wanted=1), gpus_of_a_job(tmp_path, ["7"], wanted=1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"  # fewer GPUs than jobs are shared
