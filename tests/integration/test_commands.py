"""Whole commands, as a person types them: real processes, real MNIST, real files."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.paths import ROOT
from tests.conftest import SMALL, Command, Finished, copy_of_the_project


def test_a_run_records_everything_and_ends_with_a_card_whose_commands_work(train: Command, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = train("name=first", "tags=[a,b]", "optimizer.lr=2e-3", cwd=elsewhere, PYTHONPATH=str(ROOT))
    assert done.status == 0, done.stderr
    assert not list(elsewhere.iterdir())
    [run] = done.runs
    assert re.fullmatch(r"r\d{8}-\d{6}-[0-9a-f]{4}", run["id"])
    assert (run["name"], run["tags"], run["status"], run["seed"]) == ("first", ["a", "b"], "done", 0)
    assert run["overrides"] == [*SMALL, "name=first", "tags=[a,b]", "optimizer.lr=2e-3"]
    assert shlex.split(run["command"])[:3] == ["python", "-m", "src.train"]
    assert run["config"]["optimizer"]["lr"] == 0.002
    assert set(run["metrics"]) == {f"{stage}/{name}" for stage in ("train", "val", "test") for name in ("loss", "acc")}
    assert run["best"]["metric"] == "val/acc"
    assert run["best"]["value"] >= run["metrics"]["val/acc"]
    assert run["error"] is None
    assert run["sweep"] is None
    assert run["duration_s"] > 0
    assert run["environment"]["threads"] == 1
    [directory] = done.directories
    assert {"run.json", ".hydra", "checkpoints", "train.log"} <= {path.name for path in directory.iterdir()}
    assert {path.name for path in (directory / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    for path in (directory / "checkpoints").iterdir():
        torch.load(path, weights_only=True)

    card = done.stdout
    assert f"{run['best']['value']:.4f} in epoch {run['best']['epoch'] + 1}" in card
    assert f"{run['metrics']['test/acc']:.4f}" in card
    [evaluate] = [line.strip() for line in card.splitlines() if "src.evaluate" in line]
    assert evaluate.startswith(f"cd {ROOT} && ")
    pasted = subprocess.run(
        evaluate, shell=True, cwd=elsewhere, env=_env(done), capture_output=True, text=True, timeout=100
    )
    assert pasted.returncode == 0, pasted.stderr
    assert f"{run['metrics']['test/acc']:.4f}" in pasted.stdout
    assert done.runs[0]["evaluations"][0]["metrics"]["test/acc"] == run["metrics"]["test/acc"]


def _env(done: Finished) -> dict[str, str]:
    import os

    return {**os.environ, "OUTPUTS_DIR": str(done.outputs)}


def test_evaluate_finds_a_run_by_any_of_its_names(train_here: Command, here: Command):
    trained = train_here("name=mine")
    [run], [directory] = trained.runs, trained.directories
    for word in (run["id"], run["id"][:-1], "mine", str(directory), "latest", "best"):
        done = here("evaluate", word, "checkpoint=last", "split=val")
        assert done.status == 0, done.stderr
        assert f"{run['metrics']['val/acc']:.4f}" in done.stdout


def test_a_multirun_makes_a_run_of_every_job_as_if_it_were_alone_and_an_overview(train: Command, train_here: Command):
    words = ["trainer.max_epochs=1", "model.dropout=0.2"]
    done = train("optimizer=sgd,adam", "-m", "seed=1,2", *words)
    assert done.status == 0, done.stderr
    runs = done.runs
    assert [(run["config"]["optimizer"]["_target_"], run["seed"]) for run in runs] == [
        ("torch.optim.SGD", 1),
        ("torch.optim.SGD", 2),
        ("torch.optim.Adam", 1),
        ("torch.optim.Adam", 2),
    ]
    [sweep] = {run["sweep"] for run in runs}
    assert [run["id"] for run in runs] == [f"{sweep}-{number:03d}" for number in range(4)]
    assert len({run["environment"]["pid"] for run in runs}) == 4
    for run in runs:
        assert any(
            line.startswith(run["id"][-3:]) and f"{run['metrics']['test/acc']:.4f}" in line
            for line in done.stdout.splitlines()
        )
    single = train_here("optimizer=sgd", "seed=2", *words).runs[0]
    assert single["metrics"] == runs[1]["metrics"]


def test_two_devices_are_two_processes_of_one_world(train: Command):
    done = train("optimizer=adam", "trainer.devices=2")
    assert done.status == 0, done.stderr
    [directory] = done.directories
    logs = (directory / "train.log").read_text() + (directory / "rank-1.log").read_text()
    said = dict(re.findall(r"rank (\d) of 2: pid (\d+)", logs))
    assert set(said) == {"0", "1"}
    assert len({*said.values(), str(done.runs[0]["environment"]["pid"])}) == 3
    assert done.runs[0]["environment"]["devices"] == 2


def test_a_failed_job_leaves_the_others_alone_and_the_sweep_does_not_end_well(train: Command):
    done = train("-m", "optimizer=sgd", "optimizer.lr=0.1,1e30,0.2", "trainer.max_epochs=1")
    assert [run["error_type"] for run in done.runs] == [None, "NonFiniteLoss", None]  # through the job's own process
    assert "-m resume=" not in done.stdout  # which would fail again
    assert done.status == 1
    assert [run["status"] for run in done.runs] == ["done", "failed", "done"]
    assert "became" in done.runs[1]["error"]
    assert done.runs[1]["id"] in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_an_error_of_ours_is_one_line_on_the_terminal_and_a_traceback_in_the_log(train: Command, tmp_path: Path):
    project = copy_of_the_project(tmp_path)
    (project / "src" / "models" / "broken.py").write_text(
        "from torch import nn\n\n\nclass Broken(nn.Module):\n"
        "    def __init__(self, *, input_shape, outputs):\n        super().__init__()\n        self.layer = nn.Linear(1, 1)\n\n"
        "    def forward(self, x):\n        raise RuntimeError('no way through')\n"
    )
    (project / "conf" / "model" / "broken.yaml").write_text("_target_: src.models.broken.Broken\n")
    words = [word for word in SMALL if not word.startswith("model.")]
    for devices in (1, 2):
        done = _run(project, [*words, "model=broken", f"trainer.devices={devices}"], tmp_path / f"outputs-{devices}")
        assert done.status == 1
        assert "no way through" in done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        [run], [directory] = done.runs, done.directories
        assert run["status"] == "failed"
        assert run["error"].endswith("no way through")
        assert "in forward" in (directory / "train.log").read_text()


def test_a_rank_that_fails_in_the_middle_of_a_sweep_costs_that_job_alone(tmp_path: Path):
    project = copy_of_the_project(tmp_path)
    (project / "src" / "models" / "trap.py").write_text(
        "import os\n\nfrom torch import nn\n\n\nclass Trap(nn.Module):\n"
        "    def __init__(self, *, input_shape, outputs, armed):\n        super().__init__()\n"
        "        self.armed, self.layer = armed, nn.Linear(784, outputs)\n\n"
        "    def forward(self, x):\n        if self.armed and os.environ['RANK'] == '1':\n"
        "            raise RuntimeError('the trap')\n        return self.layer(x.flatten(1))\n"
    )
    (project / "conf" / "model" / "trap.yaml").write_text("_target_: src.models.trap.Trap\narmed: false\n")
    words = [word for word in SMALL if not word.startswith("model.")]
    # The flag stands in the middle, where Hydra itself would not take it.
    line = [words[0], "--multirun", *words[1:], "model=trap", "model.armed=false,true,false", "trainer.devices=2"]
    done = _run(project, line, tmp_path / "outputs")
    assert done.status == 1
    assert [run["status"] for run in done.runs] == ["done", "failed", "done"]
    assert done.runs[0]["metrics"] == done.runs[2]["metrics"]
    assert "the trap" in done.runs[1]["error"]
    assert f"{done.runs[1]['id']}: rank 1" in done.stdout
    assert "in forward" in (done.directories[1] / "train.log").read_text()
    assert "Traceback" not in done.stdout + done.stderr


def _run(project: Path, words: list[str], outputs: Path) -> Finished:
    import os

    env = {**os.environ, "OUTPUTS_DIR": str(outputs), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "src.train", *words], cwd=project, env=env, capture_output=True, text=True, timeout=200
    )
    return Finished(done.returncode, done.stdout, done.stderr, outputs)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimzer=adam"], "did you mean 'optimizer'"),
        (["+optimizer.lrr=1"], "did you mean 'lr'"),
        (["optimizer.lr=-1"], "optimizer.lr=-1 must be above 0"),
        (["trainer=gpu"], "no GPU"),
        (["trainer.devices=64"], "trainer.devices=64"),
        (["trainer.num_nodes=2"], "trainer.num_nodes=2"),
        (["trainer.precision=16-mixed"], "bf16-mixed"),
        (
            ["optimizer._target_=torch.optim.Rprop", "+optimizer.gamma=1"],
            "optimizer.betas: there is no such setting of torch.optim.",
        ),
    ],
)
def test_a_wrong_configuration_ends_with_2_and_writes_nothing(train_here: Command, words: list[str], said: str):
    done = train_here(*words)
    assert done.status == 2
    assert said in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not done.outputs.exists()


def test_a_thread_count_that_is_none(here: Command):
    done = here("train", *SMALL, OMP_NUM_THREADS="many")
    assert done.status == 2
    assert "OMP_NUM_THREADS='many'" in done.stderr
    assert not done.outputs.exists()


def test_weights_broken_by_the_very_last_step_are_no_result(train_here: Command):
    done = train_here("data.train_size=64", "trainer.max_epochs=1", "optimizer=sgd", "optimizer.lr=1e30")
    assert done.status == 1
    assert done.runs[0]["status"] == "failed"
    assert "after step 0" in done.stderr
    assert not list(done.outputs.glob("**/*.ckpt"))


def test_foreign_records_are_passed_over(train_here: Command, here: Command):
    outputs = train_here().outputs
    for number, text in enumerate(["", "{", "[]", '{"a": 1}']):
        (outputs / "runs" / f"foreign-{number}").mkdir()
        (outputs / "runs" / f"foreign-{number}" / "run.json").write_text(text)
    refused = here("evaluate", str(outputs / "runs" / "foreign-3"))
    assert refused.status == 1
    assert "not a run's record" in refused.stderr
    assert here("evaluate", "latest").status == 0


def test_outputs_that_cannot_be_written(here: Command, tmp_path: Path):
    (tmp_path / "file").touch()
    done = here("train", *SMALL, OUTPUTS_DIR=str(tmp_path / "file"))
    assert done.status == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_data_file_is_named_and_the_run_recorded_as_failed(train_here: Command, tmp_path: Path):
    done = train_here(f"data.dir={tmp_path}")
    assert done.status == 1
    assert "train-images-idx3-ubyte.gz is missing" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.runs[0]["status"] == "failed"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("missing", "is missing"),
        ("truncated", "damaged or foreign"),
        ("foreign", "damaged or foreign"),
        ("another", "not a checkpoint of this project"),
    ],
)
def test_a_bad_checkpoint_is_named(train_here: Command, here: Command, damage: str, said: str):
    [directory] = train_here().directories
    path = directory / "checkpoints" / "best.ckpt"
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "foreign":
        torch.save({"state_dict": {}, "code": torch.nn.Linear(1, 1)}, path)
    else:
        torch.save({"weights": torch.zeros(3)}, path)
    done = here("evaluate", "latest")
    assert done.status == 1
    assert "best.ckpt" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["latest"], 1, "no finished run yet"),
        (["r2026"], 1, "no run of that id"),
        (["latest", "checkpoint=lst"], 2, "did you mean 'last'"),
        (["latest", "splt=val"], 2, "did you mean 'split'"),
    ],
)
def test_evaluate_says_what_is_wrong(here: Command, words: list[str], status: int, said: str):
    done = here("evaluate", *words)
    assert done.status == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_articles_second_example_ends_with_all_four_right(here: Command):
    done = here("train", "experiment=article_binary")
    assert done.status == 0, done.stderr
    assert done.runs[0]["metrics"]["test/acc"] == 1.0
    assert done.runs[0]["metrics"]["train/loss"] < 0.5
