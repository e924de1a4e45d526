"""What a run promises when it is cut off, moved, damaged, or started by somebody else."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from src.config.command_line import parse
from src.config.compose import make_plan
from src.errors import UserError
from src.masking import conceal_words
from src.paths import ROOT
from src.records.git import git
from src.records.lock import is_alive, owned, owner
from src.records.record import Record
from src.records.sweep import Sweep
from src.sweeps.study import open_study
from src.training.checkpoints import is_whole, load
from tests.conftest import SMALL, Command, MakeRun
from tests.helpers.outcome import differences, outcome
from tests.helpers.trust import FOUR, finish, free_port, secrets_in, spawn, task, unusual

__all__ = ["free_port"]


THREE = ["trainer.max_epochs=3", "model.dropout=0.2"]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_finished_run_says_so_and_changes_nothing(train_here: Command):
    [directory] = train_here().directories
    before = contents(directory)
    done = train_here(f"resume={directory.name}", small=False)
    assert done.status == 0
    assert "is finished, all 2 epochs: there is nothing to resume" in done.stdout
    assert contents(directory) == before


def test_a_finished_run_can_be_given_more_epochs(train_here: Command):
    [short] = train_here(*THREE[1:]).directories
    done = train_here(f"resume={short.name}", "trainer.max_epochs=3", "tags=[longer]", small=False)
    assert done.status == 0, done.stderr
    [run] = done.runs
    assert (run["status"], run["tags"], run["config"]["trainer"]["max_epochs"]) == ("done", ["longer"], 3)
    assert run["overrides"][-2:] == ["trainer.max_epochs=3", "tags=[longer]"]
    assert len(run["resumed"]) == 1
    train_here(*THREE)
    assert not differences(outcome(done.directories[0]), outcome(done.directories[1]))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["optimizer.lr=1"], 2, "optimizer.lr=1: a resumed run keeps its settings"),
        (["seed=1,2"], 2, "plain key=value"),
        (["trainer.max_epochs=1"], 2, "less than the 3"),
        (["trainer.max_epochs=0"], 2, "trainer.max_epochs=0 must be at least 1"),
        (["trainer.devices=64"], 2, "trainer.devices=64"),
        (["tags=x y"], 2, "must be a list"),
        (["--cfg", "job"], 2, "leave out other flags"),
    ],
)
def test_what_may_not_differ_is_refused(train_here: Command, words: list[str], status: int, said: str):
    [directory] = train_here(*THREE).directories
    unfinish(directory)
    before = contents(directory)
    done = train_here(f"resume={directory}", *words, small=False)
    assert done.status == status
    assert said in done.stderr
    assert contents(directory) == before


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_a_schedule_that_ends_with_the_run_allows_no_other_length(train_here: Command, schedule: str):
    train_here(f"schedule={schedule}", "name=planned")
    done = train_here("resume=planned", "trainer.max_epochs=3", small=False)
    assert done.status == 2
    assert f"schedule={schedule} ends with the last epoch" in done.stderr


@pytest.mark.parametrize("word", ["latest", "r2026", "https://example.org/last.ckpt", "", "null"])
def test_a_run_that_is_not_there_cannot_be_resumed(train_here: Command, word: str):
    done = train_here(f"resume={word}", small=False)
    assert done.status in (1, 2)
    assert done.stderr.startswith("error: ")
    assert not done.outputs.exists()


def unfinish(directory: Path, status: str = "interrupted", **environment: Any) -> None:
    """Make a finished run look as if it had been cut off before its last epoch."""
    record = Record.load(directory)
    folder = directory / "checkpoints"
    os.replace(folder / "previous.ckpt", folder / "last.ckpt")
    record.update(status=status, environment={**record.values["environment"], **environment})


def test_a_run_at_work_is_not_resumed_and_a_killed_one_is(train_here: Command):
    [directory] = train_here(*THREE).directories
    whole = outcome(directory)
    unfinish(directory, "running", **owner())
    with owned(directory):
        refused = train_here(f"resume={directory.name}", small=False)
        assert refused.status == 1
        assert f"is still running, as process {os.getpid()}" in refused.stderr
        assert train_here("resume=latest", small=False).status == 1
    assert Record.load(directory).status == "interrupted"
    assert train_here("resume=latest", small=False).status == 0
    assert not differences(outcome(directory), whole)


def test_a_lock_holds_while_its_process_lives(tmp_path: Path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom src.records.lock import owned\n"
        "with owned(Path(sys.argv[1])):\n    print('mine', flush=True)\n    time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(UserError, match="another command"), owned(tmp_path, patience=0.2):
            pass
        other.kill()
    with owned(tmp_path):
        pass


def test_who_is_alive():
    assert is_alive(owner()) is True
    assert is_alive({**owner(), "pid_started": 1.0}) is False  # the number was given to another process
    with subprocess.Popen([sys.executable, "-c", "pass"]) as other:
        there = {**owner(), "pid": other.pid, "pid_started": psutil.Process(other.pid).create_time()}
    assert is_alive(there) is False
    for elsewhere in ({**there, "host": "elsewhere"}, {**there, "pid_namespace": "another"}, {}):
        assert is_alive(elsewhere) is None


@pytest.mark.parametrize("damage", ["truncated", "one byte", "missing"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(train_here: Command, damage: str):
    [directory] = train_here(*THREE).directories
    whole = outcome(directory)
    Record.load(directory).update(status="interrupted")
    path = directory / "checkpoints" / "last.ckpt"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "one byte":
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    else:
        path.unlink()
    assert not is_whole(path)
    done = train_here("resume=latest", small=False)
    assert done.status == 0, done.stderr
    assert "previous.ckpt" in done.stdout
    assert damage == "missing" or "last.ckpt is damaged" in done.stdout
    assert not differences(outcome(directory), whole)


def test_when_all_checkpoints_are_damaged_or_gone_nothing_is_trained(train_here: Command):
    [directory] = train_here().directories
    Record.load(directory).update(status="interrupted")
    for path in (directory / "checkpoints").iterdir():
        path.write_bytes(b"nothing")
    done = train_here("resume=latest", small=False)
    assert done.status == 1
    assert "last.ckpt and previous.ckpt and best.ckpt cannot be read" in done.stderr
    shutil.rmtree(directory / "checkpoints")
    done = train_here("resume=latest", small=False)
    assert done.status == 1
    assert "its checkpoints were removed" in done.stderr


def test_a_run_that_was_moved_keeps_its_best(train_here: Command, tmp_path: Path):
    [directory] = train_here(*THREE, "callbacks.best.every_n_epochs=2").directories
    assert Record.load(directory).values["best"]["epoch"] == 1
    whole = outcome(directory)
    unfinish(directory)
    moved = tmp_path / "elsewhere"
    shutil.move(directory, moved)
    done = train_here(f"resume={moved}", small=False)
    assert done.status == 0, done.stderr
    assert not differences(outcome(moved), whole)
    assert not directory.exists()


def test_another_versions_record_and_a_foreign_checkpoint_run_nothing(train_here: Command):
    import torch

    [directory] = train_here().directories
    record = Record.load(directory)
    config = {**record.values["config"], "model": {"_target_": "os.system", "command": "true"}}
    record.update(status="interrupted", config=config)
    done = train_here("resume=latest", small=False)
    assert done.status == 1
    assert "model._target_='os.system' is not allowed" in done.stderr
    record.update(config={**config, "model": record.values["config"]["model"] | {"_target_": "src.models.mlp.MLP"}})
    torch.save({"state_dict": {}, "code": torch.nn.Linear(1, 1)}, directory / "checkpoints" / "last.ckpt")
    assert train_here("resume=latest", small=False).status == 1


def test_a_second_training_gives_the_same_bits(train_here: Command):
    words = [*THREE, "data.augment.rotation=5"]
    one, two = [outcome(train_here(*words).directories[-1]) for _ in range(2)]
    assert not differences(one, two)


def test_every_checkpoint_is_plain_data(train_here: Command):
    [directory] = train_here("callbacks=ema", "schedule=plateau", "name=plain").directories
    names = {path.name for path in (directory / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    for name in names:
        assert load(directory / "checkpoints" / name)["epoch"] in (0, 1)


# -- real processes


@pytest.mark.parametrize(
    ("words", "said"), [(["-m", "seed=1,2"], "start the sweep without them"), (["trainer.devices=3"], "leave it out")]
)
def test_what_torchrun_decides_cannot_be_asked_for(
    train_here: Command, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    done = train_here(*words)
    assert done.status == 2
    assert said in done.stderr


def test_failed_ranks_leave_nothing_for_a_later_rank_to_collect(tmp_path: Path):
    code = """
import gc
from functools import partial
import psutil
from src.errors import UserError
from src.launching.hardware import Hardware
from src.launching.launchers import LocalProcesses
from src.launching.processes import RankFailed

def fail(config, directory):
    raise config["error"]

gc.disable()
for error in 5 * (UserError("no"), ValueError("no")):
    try:
        LocalProcesses(Hardware("cpu", 1, 1, 1)).launch(partial(fail, {"error": error}, FOLDER), FOLDER)
    except (UserError, RankFailed) as failure:
        print(type(failure).__name__, failure)
        listening = [one.laddr for one in psutil.Process().net_connections() if one.status == "LISTEN"]
        assert not listening, listening  # the store is served no longer
"""
    words = [sys.executable, "-c", code.replace("FOLDER", repr(str(tmp_path)))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 5 * "UserError no\nRankFailed rank 0: ValueError: no\n"


def test_a_mistake_ends_each_rank_without_the_others(outputs: Path, free_port: int):
    said = []
    for number in range(2):
        done = finish(task(number, free_port, outputs, "optimizer.lrr=1"), outputs)
        assert done.status == 2
        said.append(done.stdout)
    assert said[0].startswith("error: optimizer.lrr")
    assert not said[1]
    assert not outputs.exists()


@pytest.mark.parametrize(("number", "what"), [(0, "rank 1 to start"), (1, "rank 0 at 127.0.0.1")])
def test_a_rank_says_whom_it_waits_for_and_can_be_stopped(outputs: Path, free_port: int, number: int, what: str):
    waiting = task(number, free_port, outputs, *SMALL)
    assert waiting.stdout is not None
    if number == 0:
        assert waiting.stdout.readline().startswith("training ")
    assert f"waiting for {what}" in waiting.stdout.readline()
    waiting.send_signal(signal.SIGTERM if number else signal.SIGINT)
    done = finish(waiting, outputs)
    assert (done.status, done.stdout) == (143 if number else 130, "")
    assert not outputs.exists()


def test_a_second_rank_writes_nothing_but_its_log(outputs: Path, tmp_path: Path):
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import os, sys\n"
        "def watch(event, args):\n"
        "    if event == 'open' and os.environ.get('RANK') == '1' and isinstance(args[1], str) and set(args[1]) & set('wax+'):\n"
        f"        if str(args[0]).startswith({str(outputs)!r}):\n"
        f"            os.write(os.open({str(tmp_path / 'opened')!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY), f'{{args[0]}}\\n'.encode())\n"
        "sys.addaudithook(watch)\n"
    )
    words = [*SMALL, "trainer.devices=2", "logger=both", "callbacks=full"]
    done = finish(spawn(outputs, *words, PYTHONPATH=str(tmp_path)), outputs)
    assert done.status == 0, done.stdout
    assert {Path(line).name for line in (tmp_path / "opened").read_text().splitlines()} == {"rank-1.log"}


# -- the code of a run


def repository(folder: Path) -> Path:
    folder.mkdir()
    for words in (["init", "-q"], ["config", "user.email", "a@b.c"], ["config", "user.name", "n"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    (folder / ".gitignore").write_text("ignored\n")
    (folder / "code.py").write_text("one\n")
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-qm", "one"], cwd=folder, check=True)
    return folder


def test_the_patch_holds_changes_and_new_files_and_nothing_that_is_ignored(tmp_path: Path):
    project = repository(tmp_path / "project")
    clean = git.__wrapped__(project)
    assert clean["dirty"] is False
    assert clean["patch"] is None
    (project / "code.py").write_text("two\n")
    (project / "new file.py").write_text("three\n")
    (project / "ignored").write_text("secret\n")
    index = (project / ".git" / "index").read_bytes()
    objects = contents(project / ".git" / "objects")
    changed = git.__wrapped__(project)
    assert changed["commit"] == clean["commit"]
    assert b"+two" in changed["patch"]
    assert b"+three" in changed["patch"]
    assert b"secret" not in changed["patch"]
    assert (project / ".git" / "index").read_bytes() == index  # the user's own staging is left alone
    assert contents(project / ".git" / "objects") == objects
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tmp_path / "tree")], cwd=project, check=True)
    (tmp_path / "patch").write_bytes(changed["patch"])
    subprocess.run(["git", "apply", str(tmp_path / "patch")], cwd=tmp_path / "tree", check=True)
    assert (tmp_path / "tree" / "code.py").read_text() == "two\n"
    assert (tmp_path / "tree" / "new file.py").read_text() == "three\n"


def test_a_patch_too_large_is_left_out_and_without_git_there_is_none(tmp_path: Path):
    project = repository(tmp_path / "project")
    (project / "large.bin").write_bytes(os.urandom(2_000_000))
    found = git.__wrapped__(project)
    assert (found["dirty"], found["patch"]) == (True, None)
    (tmp_path / "outside").mkdir()
    assert git.__wrapped__(tmp_path / "outside") is None


def test_runs_are_no_code_even_where_outputs_is_a_link(tmp_path: Path):
    project = repository(tmp_path / "project")
    (project / "outputs").mkdir()
    (project / "outputs" / ".gitkeep").touch()
    for words in (["add", "."], ["commit", "-qm", "two"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    shutil.move(project / "outputs", tmp_path / "far")
    (project / "outputs").symlink_to(tmp_path / "far")
    found = git.__wrapped__(project)
    assert (found["dirty"], found["patch"]) == (False, None)
    (project / "code.py").write_text("two\n")
    found = git.__wrapped__(project)
    assert b"code.py" in found["patch"]
    assert b"outputs" not in found["patch"]
    code = "import json; from pathlib import Path; from src.records.git import git; "
    code += f"found = git(Path({str(project)!r})); print(found['dirty'], found['patch'])"
    (project / "results").mkdir()
    (project / "results" / "new").touch()
    subprocess.run(["git", "checkout", "-q", "code.py"], cwd=project, check=True)
    for chosen, said in (("results", "False None\n"), ("elsewhere", "True b")):
        variables = {**os.environ, "OUTPUTS_DIR": str(project / chosen)}
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True)
        assert done.stdout.startswith(said), done.stderr


def test_a_run_is_reproduced_to_the_last_digit(train_here: Command, here: Command):
    train_here("name=first", "model.dropout=0.1")
    told = here("runs", "reproduce", "first")
    assert told.status == 0, told.stderr
    assert "OMP_NUM_THREADS=1 MKL_CBWR=" in told.stdout
    done = here("runs", "reproduce", "first", "--run")
    assert done.status == 0, done.stdout + done.stderr
    assert "equal, to the last digit" in done.stdout
    first, again = done.runs
    assert again["reproduces"] == first["id"]
    assert again["metrics"] == first["metrics"]


def test_no_setting_attribute_or_hook_changes_the_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = repository(tmp_path / "project")
    (project / "code.py").write_text("two  \r\n")  # as long as before, and with space at its end
    (project / "näme.py").write_text("\tthree  \n")
    plain = git.__wrapped__(project)
    assert plain["problem"] is None
    assert b"--- a/code.py\n+++ b/code.py\n@@ -1 +1 @@\n-one\n+two  \r\n" in plain["patch"]
    for name, value in unusual(project, tmp_path / "user").items():
        monkeypatch.setenv(name, value)
    assert git.__wrapped__(project) == plain
    for name in ("GIT_INDEX_FILE", "GIT_DIR", "GIT_CONFIG_GLOBAL", "GIT_EXTERNAL_DIFF"):
        monkeypatch.delenv(name)
    subprocess.run(["git", "update-index", "--assume-unchanged", "code.py"], cwd=project, check=True)
    assert git.__wrapped__(project) == plain


def test_a_patch_holds_staged_deletions_and_renames_and_all_else(tmp_path: Path):
    project = repository(tmp_path / "project")
    for name in ("removed.py", "renamed.py", "kept.py"):
        (project / name).write_text(f"# {name}\n" * 20)
    for words in (["add", "."], ["commit", "-qm", "more"], ["rm", "-q", "removed.py"], ["mv", "renamed.py", "new.py"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    subprocess.run(["git", "rm", "-q", "--cached", "kept.py"], cwd=project, check=True)
    (project / "code.py").write_text("two\n")
    found = git.__wrapped__(project)
    assert found["problem"] is None
    subprocess.run(["git", "worktree", "add", "-q", "--detach", tmp_path / "again"], cwd=project, check=True)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path / "again", input=found["patch"], check=True)
    trees = [
        {path.name: path.read_text() for path in folder.iterdir() if path.is_file() and path.name != ".git"}
        for folder in (project, tmp_path / "again")
    ]
    assert trees[0] == trees[1]
    assert set(trees[0]) >= {"new.py", "kept.py", "code.py"}


def test_the_commit_is_known_where_the_patch_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = repository(tmp_path / "project")
    (project / "code.py").write_text("two\n")
    plain = git.__wrapped__(project)
    assert plain["dirty"] is True
    subprocess.run(["git", "init", "-q", "inner"], cwd=project, check=True)
    assert git.__wrapped__(project) == {**plain, "problem": "inner is a repository of its own"}
    shutil.rmtree(project / "inner")
    if os.getuid() == 0:  # or the owner cannot be another
        shutil.copytree(project, tmp_path / "other")
        subprocess.run(["chown", "-R", "1234", tmp_path / "other"], check=True)
        refused = subprocess.run(["git", "status"], cwd=tmp_path / "other", capture_output=True, text=True)
        assert "dubious ownership" in refused.stderr
        assert git.__wrapped__(tmp_path / "other") == plain
    (project / ".gitattributes").write_text("*.py filter=absent\n")
    for setting, value in (("clean", "no-such-command"), ("required", "true")):
        subprocess.run(["git", "config", f"filter.absent.{setting}", value], cwd=project, check=True)
    unknown = {"commit": plain["commit"], "dirty": None, "patch": None}
    assert git.__wrapped__(project) == {**unknown, "problem": "fatal: code.py: clean filter 'absent' failed"}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.__wrapped__(project) == {
        **unknown,
        "problem": "git cannot be started (No such file or directory)",
    }
    subprocess.run(["/usr/bin/env", "-i", "/usr/bin/git", "pack-refs", "--all"], cwd=project, check=True)
    assert git.__wrapped__(project)["commit"] == plain["commit"]


def test_what_is_not_known_of_the_code_is_reported(make_run: MakeRun, here: Command):
    problem = "fatal: code.py: clean filter 'absent' failed"
    record = make_run("seed=1", git={"commit": "1" * 40, "dirty": None, "patch": None, "problem": problem})
    shown = here("runs", "reproduce", record.values["id"]).stdout
    assert f"at commit {'1' * 12}" in shown
    assert f"What had been changed since its commit was not recorded ({problem})." in shown
    assert "outside git" not in shown
    nothing = {"commit": None, "dirty": True, "patch": None, "problem": "nothing has been committed yet"}
    record = make_run("seed=2", git=nothing)
    assert "Its commit is not known (nothing has been committed yet)" in here("runs", "reproduce", "latest").stdout
    assert "outside git" in here("runs", "reproduce", make_run("seed=3").values["id"]).stdout


# -- secrets


def test_the_password_of_a_searchs_storage_is_in_no_file(here: Command, outputs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HYDRA_SWEEPER_STORAGE_PASSWORD", "")  # to be removed after the test
    secret = FOUR[1]
    address = f"sqlite:///file:{outputs.parent / 'study.db'}?uri=true&password={secret}"
    line = parse(conceal_words(["-m", "hydra/sweeper=optuna", f'hydra.sweeper.storage="{address}"', "seed=1,2"]))
    folder = outputs / "sweeps" / "s20260101-000000-0000"
    folder.mkdir(parents=True)
    search = make_plan(line).search
    sweep = Sweep.start(folder, line.flags, line.overrides, jobs=None, trials=2, mode="max", search=search, git=None)
    assert Sweep.load(folder).storage == sweep.storage == address
    open_study(Sweep.load(folder))
    assert (outputs.parent / "study.db").exists()
    monkeypatch.delenv("HYDRA_SWEEPER_STORAGE_PASSWORD")
    shown = here("train", "-m", "resume=latest")
    assert shown.status == 2
    assert "kept in no file: set the environment variable HYDRA_SWEEPER_STORAGE_PASSWORD, or give" in shown.stderr
    other = here("train", "-m", "resume=latest", f'hydra.sweeper.storage="postgresql://u:{secret}@h/x"')
    assert "a resumed sweep keeps its settings" in other.stderr
    assert secret not in secrets_in(shown.stderr, other.stderr, below=outputs)
    old = {
        **sweep.values,
        "search": {**(search or {}), "storage": address},
        "overrides": [f"hydra.sweeper.storage={address}"],
    }
    (folder / "sweep.json").write_text(json.dumps(old))  # as earlier versions did
    assert Sweep.load(folder).storage == address
    Sweep.load(folder).save()
    assert secret not in secrets_in(below=outputs)
