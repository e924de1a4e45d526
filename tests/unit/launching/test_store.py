"""Ranks that do not come, or fail."""

import os
import re

import pytest

from src.errors import ConfigError, UserError
from src.launching.cluster import RankInfo
from src.launching.store import RankStore
from tests.helpers.trust import free_port

__all__ = ["free_port"]


# -- real processes


@pytest.mark.parametrize("given", [{"MASTER_ADDR": "one", "MASTER_PORT": "4000"}, {}])
def test_sruns_variables_are_read_and_left_as_they_are(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]):
    for name in ("MASTER_ADDR", "MASTER_PORT"):  # which a training of two processes may have left
        monkeypatch.delenv(name, raising=False)
    assert RankInfo.from_environment() is None
    step = {
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "1",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    }
    task = {"SLURM_STEP_NODELIST": "one,two", "SLURM_NODEID": "1", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
    for name, value in {**step, **task, **given}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    ranks = RankInfo.from_environment()
    assert ranks is not None
    assert (ranks.rank, ranks.world_size, ranks.local_rank, ranks.node, ranks.nodes) == (3, 4, 1, 1, 2)
    assert (ranks.master_addr, ranks.master_port) == ("one", 4000 if given else 20_000 + 77 * 64 + 1)
    assert ranks.overrides([]) == ["trainer.devices=2", "trainer.num_nodes=2"]
    assert os.environ == before
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "3,1")
    with pytest.raises(ConfigError, match=r"unevenly over the nodes \(3,1\)"):
        RankInfo.from_environment().overrides([])  # type: ignore[union-attr]


def test_a_rank_that_does_not_come_or_fails_is_named(free_port: int):
    leader, other = (
        RankStore(
            RankInfo(n, 2, local_rank=n, local_world_size=2, node=0, master_addr="127.0.0.1", master_port=free_port)
        )
        for n in range(2)
    )
    with pytest.raises(UserError, match=r"waited 0 s for rank 0 at 127.0.0.1:\d+ \(Connection refused\)"):
        other.connect(patience=0.3)
    leader.connect(patience=0.3)
    with pytest.raises(UserError, match=r"waited 0 s for rank 1 to start, of 2 processes: .*torchrun"):
        leader.register()
    other.connect(patience=0.3)
    other.register()
    leader.register()
    leader.publish({"directory": "here"})
    assert other.wait_for_message() == {"directory": "here"}
    assert leader.failure() is None
    other.fail(UserError("no GPU."))
    leader.fail(UserError("another rank has ended."))
    assert re.fullmatch(r"rank 1 on .*: no GPU\.", str(leader.failure()))
