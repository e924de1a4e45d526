"""What is settled before a launcher starts processes of its own."""

import os
from collections.abc import Mapping
from typing import Any

from src.launching.share import share_out
from src.launching.stop import pass_on_stop
from src.paths import ROOT


def prepare_workers(launcher: Mapping[str, Any]) -> None:
    """Share out this machine, see that workers can import the project, and pass signals on to them.

    Args:
        launcher: the settings of Hydra's launcher.
    """
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *(path for path in paths if path)])
    if launcher["_target_"].endswith(".JoblibLauncher"):
        import torch
        from joblib import effective_n_jobs

        if (jobs := effective_n_jobs(launcher["n_jobs"])) > 1:
            share_out(jobs, torch.get_num_threads())
            pass_on_stop()
