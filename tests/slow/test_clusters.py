"""Real clusters: SLURM, several machines, Ray, PostgreSQL. What was run is listed in docs/clusters.md."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from src.paths import ROOT
from tests.conftest import SMALL, Finished
from tests.helpers.boards import wait_for
from tests.helpers.clusters import (
    PASSWORD,
    Prefix,
    RayCluster,
    Slurm,
    postgres,
    ray_cluster,
    slurm,
    two_machines,
)

__all__ = ["postgres", "ray_cluster", "slurm", "two_machines"]

TRAIN = [sys.executable, "-m", "src.train"]
ON_SLURM = ["-m", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=5"]


def run(cluster: Slurm, outputs: Path, *words: str) -> Finished:
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**cluster.environment, "OUTPUTS_DIR": str(outputs)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    return Finished(done.returncode, done.stdout, done.stderr, outputs)


def test_srun_starts_the_ranks_of_one_run(slurm: Slurm, outputs: Path):
    done = run(slurm, outputs, "srun", "--ntasks=2", *TRAIN, *SMALL)
    assert done.status == 0, done.stdout + done.stderr
    [there] = done.runs
    assert (there["status"], there["environment"]["devices"]) == ("done", 2)
    assert there["environment"]["slurm_job"]
    here = run(slurm, outputs, *TRAIN, *SMALL, "trainer.devices=2").runs[-1]
    assert here["metrics"] == there["metrics"]


def test_a_queued_sweep_survives_its_node(slurm: Slurm, outputs: Path):
    words = [*SMALL, "seed=1,2", "trainer.max_epochs=300"]
    with subprocess.Popen(
        [*TRAIN, *ON_SLURM, *words],
        cwd=ROOT,
        env={**slurm.environment, "OUTPUTS_DIR": str(outputs)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as sweep:
        wait_for(lambda: len(list(outputs.glob("sweeps/*/*/checkpoints/last.ckpt"))) == 2)
        slurm.kill_node()
        slurm.start("slurmd")
        wait_for(lambda: "PENDING" in slurm.states() and "RUNNING" not in slurm.states())
        slurm.start_pending_jobs()
        said, _ = sweep.communicate(timeout=200)
    assert sweep.returncode == 0, said
    runs = Finished(0, said, "", outputs).runs
    assert [(one["status"], len(one["resumed"]), one["environment"]["devices"]) for one in runs] == [("done", 1, 1)] * 2
    single = run(slurm, outputs, *TRAIN, *SMALL, "seed=2", "trainer.max_epochs=300").runs
    assert single[0]["metrics"] == runs[1]["metrics"]


def test_a_job_that_is_about_to_reach_its_limit_is_requeued_and_resumed(slurm: Slurm, outputs: Path, tmp_path: Path):
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/sh\nexec {' '.join(TRAIN)} {' '.join(SMALL)} trainer.max_epochs=20000\n")
    options = ["--time=1", "--signal=B:USR1@50", "--requeue", f"--output={tmp_path}/out", f"--chdir={ROOT}"]
    done = run(slurm, outputs, "sbatch", *options, str(script))
    assert done.status == 0, done.stderr

    def record() -> dict[str, Any]:
        return json.loads(next(outputs.glob("runs/*/run.json")).read_text())

    wait_for(lambda: bool(list(outputs.glob("runs/*/run.json"))) and record()["status"] == "interrupted", 60)
    wait_for(lambda: slurm.states() == ["PENDING"])
    slurm.start_pending_jobs()
    wait_for(lambda: record()["status"] in ("running", "done") and record()["resumed"], 60)
    os.kill(record()["environment"]["pid"], signal.SIGTERM)
    wait_for(lambda: record()["status"] == "interrupted", 60)
    assert len(record()["resumed"]) == 1


def test_a_sweep_on_two_nodes_of_ray_goes_past_one_that_dies(
    two_machines: tuple[Prefix, Prefix], ray_cluster: RayCluster, outputs: Path
):
    words = ["-m", "hydra/launcher=ray_cluster", f"hydra.launcher.ray.init.address={ray_cluster.address}", *SMALL]
    words += ["seed=1,2,3,4", "trainer.max_epochs=150"]
    ray_cluster.start()
    environment = {**ray_cluster.environment, "OUTPUTS_DIR": str(outputs)}
    with subprocess.Popen(
        [*two_machines[0], *TRAIN, *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as sweep:
        wait_for(lambda: len(list(outputs.glob("sweeps/*/*/checkpoints/last.ckpt"))) > 1, 120)
        ray_cluster.kill_node()
        said, _ = sweep.communicate(timeout=250)
    assert sweep.returncode == 0, said
    runs = Finished(0, said, "", outputs).runs
    assert [one["status"] for one in runs] == ["done"] * 4
    assert [len(one["resumed"]) for one in runs if one["resumed"]] == [1]


def test_two_machines_share_a_search_in_postgresql(
    two_machines: tuple[Prefix, Prefix], ray_cluster: RayCluster, postgres: str, outputs: Path
):
    """Trials report to the database from the machine on which they run, and the pruner answers."""
    ray_cluster.start(cores_of_head=0, HYDRA_SWEEPER_STORAGE_PASSWORD=PASSWORD)
    words = ["-m", "hydra/launcher=ray_cluster", f"hydra.launcher.ray.init.address={ray_cluster.address}", *SMALL]
    words += ["hydra/sweeper=optuna", "hydra.sweeper.pruner=median", "hydra.sweeper.startup_trials=1"]
    words += ["hydra.sweeper.n_trials=4", "trainer.max_epochs=4", "optimizer.lr=tag(log,interval(1e-5,1e-1))"]
    done = subprocess.run(
        [*two_machines[0], *TRAIN, *words, f"hydra.sweeper.storage={postgres}"],
        cwd=ROOT,
        env={**ray_cluster.environment, "OUTPUTS_DIR": str(outputs)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = Finished(0, "", "", outputs).runs
    assert [one["status"] for one in runs] == ["done"] * 4
    for text in (done.stdout, done.stderr, *(path.read_text() for path in outputs.rglob("*.json"))):
        assert PASSWORD not in text
