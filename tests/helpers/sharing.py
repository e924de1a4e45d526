"""Three ranks that add up vectors through shared memory: python -m tests.helpers.sharing FOLDER [full|leaving]."""

import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import multiprocessing

from src.fast.shared_memory import SharedSum
from src.launching.processes import loopback
from tests.helpers.limits import files_of_at_most

RANKS, NUMBERS, ROUNDS = 3, 1000, 50


def vector(rank: int, turn: int) -> torch.Tensor:
    """What a rank adds: of another length each time."""
    return torch.rand(NUMBERS - turn, generator=torch.Generator().manual_seed(100 * turn + rank))


def rank(number: int, folder: Path, how: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=RANKS)
    memory = folder / "memory"
    memory.mkdir(exist_ok=True)
    with files_of_at_most(10_000) if how == "full" else nullcontext():
        shared = SharedSum.of(NUMBERS, torch.float32, memory)
    said: dict[str, object] = {"shared": shared is not None}
    if shared is not None:
        sums = []
        for turn in range(ROUNDS):
            if turn == 20 and how == "leaving" and number == 1:
                os._exit(0)
            if turn % RANKS == number:
                time.sleep(0.002)  # somebody is always late
            sums.append(vector(number, turn))
            try:
                shared(sums[-1])
            except torch.distributed.DistError as error:
                said["error"] = f"{turn}: {error}"
                break
        wanted = [sum(vector(other, turn) for other in range(RANKS)) for turn in range(ROUNDS)]
        said["right"] = how == "leaving" or all(map(torch.allclose, sums, wanted))
        said["bits"] = [float(one.double().sum()) for one in sums]
    (folder / f"said-{number}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    os.environ.update(loopback())
    where, how = Path(sys.argv[1]), sys.argv[2]
    multiprocessing.start_processes(rank, (where, how), RANKS, start_method="fork")
