"""Records of an earlier version of the project: listed, shown and tidied away; never rebuilt."""

import json

import pytest

from src.errors import UserError
from src.records.find import find_to_resume
from src.records.record import Record
from src.records.sweep import Sweep
from src.views.card import print_card
from tests.conftest import Command, MakeRun
from tests.helpers.formats import of_format_1


def test_an_earlier_record_is_listed_shown_and_tidied_away(make_run: MakeRun, here: Command):
    old, new = of_format_1(make_run("seed=1", accuracy=0.8)), make_run("seed=2")
    id = old.values["id"]
    listed = json.loads(here("runs", "ls", "--json").stdout)
    assert [run["id"] for run in listed] == [new.values["id"], id]
    assert listed[1]["metrics"]["best/val/acc"] == 0.8
    for words in (
        ["ls", "best/val/acc<0.85"],
        ["show", id],
        ["best", "seed==1"],
        ["reproduce", id],
        ["tag", id, "old"],
    ):
        done = here("runs", *words)
        assert (done.status, done.stderr) == (0, "")
        assert id in done.stdout or "src.train" in done.stdout
    for words in (["diff", id, "latest"], ["report", id], ["note", id, "old"], ["rm", id], ["restore", id]):
        assert here("runs", *words).status == 0
    print_card(new)  # compares with the run before


@pytest.mark.parametrize("multirun", [False, True])
def test_an_earlier_run_or_sweep_is_not_resumed(make_run: MakeRun, train_here: Command, multirun: bool):
    record = of_format_1(make_run("seed=1", sweep="s1" if multirun else None, status="interrupted"))
    if multirun:
        Sweep.start(
            record.directory.parent, ["-m"], ["seed=1"], jobs=[["seed=1"]], trials=1, mode="max", search=None, git=None
        )
    flags, run = (["-m"], record.directory.parent) if multirun else ([], record.directory)
    done = train_here(*flags, f"resume={run}", small=False)
    [line] = done.stderr.splitlines()
    assert done.status == 1
    assert f"{record.values['id']} was made by an earlier version" in line
    assert Record.load(record.directory).values["status"] == "interrupted"


def test_the_latest_run_to_resume_is_one_that_can_be(make_run: MakeRun, train_here: Command):
    new, old = make_run("seed=1", status="interrupted"), make_run("seed=2", status="interrupted")
    of_format_1(old)
    assert find_to_resume("latest").directory == new.directory
    new.update(status="done")
    with pytest.raises(UserError, match="no unfinished run"):
        find_to_resume("latest")
