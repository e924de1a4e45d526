"""``python -m src.runs summary``."""

import json

from tests.conftest import Command, MakeRun


def test_runs_are_summarized_for_programs_and_readers(here: Command, make_run: MakeRun):
    best = make_run("optimizer.lr=0.01", accuracy=0.9)
    make_run("optimizer.lr=0.02", accuracy=0.8, sweep="s20260101-000000-abcd")
    failed = make_run("optimizer.lr=0.03", accuracy=None, status="failed", error="RuntimeError: no memory")
    found = json.loads(here("runs", "summary", "--json").stdout)
    keys = {"runs", "status", "groups", "failed", "interrupted", "running", "disk", "unreadable"}
    assert (found["runs"], set(found)) == (3, keys)
    assert found["groups"][0]["best"]["id"] == best.values["id"]
    shown = here("runs", "summary", "-k", "1").stdout
    assert "runs: 2 done, 1 failed" in shown
    assert f"best: 0.9000 in {best.values['id']}: lr=0.01" in shown.replace("optimizer.", "")
    assert "plateau: yes, none of the last 1 finished runs" in shown
    assert f"1 x RuntimeError: no memory\n  {failed.values['id']}" in shown
    table = here("runs", "summary", "--csv").stdout.splitlines()
    assert table[0] == "data,metric,setting,value,runs,failed,scored,best,mean"
    assert "MNIST,val/acc,optimizer.lr,0.01,1,0,1,0.9,0.9" in table


def test_a_filter_or_a_sweep_selects_runs(here: Command, make_run: MakeRun):
    make_run("seed=1")
    job = make_run("seed=2", sweep="s20260101-000000-abcd")
    (job.directory.parent / "sweep.json").write_text(
        json.dumps(
            {"id": job.directory.parent.name, "flags": [], "overrides": [], "jobs": [["seed=2"]], "trials": 1}
            | {"started": "2026-01-01T00:00:00+00:00"}
        )
    )
    assert json.loads(here("runs", "summary", "seed==1", "--json").stdout)["runs"] == 1
    assert json.loads(here("runs", "summary", "--sweep", "latest", "--json").stdout)["runs"] == 1
    nothing = json.loads(here("runs", "summary", "seed==2 and failed", "--json").stdout)
    assert (nothing["runs"], nothing["groups"]) == (0, [])


def test_unreadable_records_are_named(here: Command, make_run: MakeRun):
    make_run("seed=1")
    (make_run("seed=2").directory / "run.json").write_text("{")
    done = here("runs", "summary", "--json")
    assert done.status == 0
    assert "is not a run's record" in done.stderr
    assert len(json.loads(done.stdout)["unreadable"]) == 1
