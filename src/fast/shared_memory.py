"""All-reduce of a vector over the processes of one machine in shared memory.

Gloo passes vectors between threads and through sockets. For the gradients of a small network this takes 2 ms, longer than the
rest of the step with 0.5 ms. Shared memory takes a tenth of gloo's time.
"""

import logging
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

log = logging.getLogger(__name__)

# Containers often have only 64 MB of shared memory, and for larger networks gloo's overhead is small compared with a step.
_MOST_BYTES = 32_000_000
_MEMORY = Path("/dev/shm")
# Timeout in seconds, the same as that of gloo's collectives.
_PATIENCE_S = 1800


class SharedSum:
    """In-place all-reduce: replaces a vector on every rank by its sum over the ranks. All ranks must call it in the same order.

    Each rank writes to its own slot, notifies the others with a byte on a socket, and sums all slots in the order of the
    ranks, so the results are bit-identical. Two sets of slots alternate: when a set is reused, every rank has signalled that it
    has written to the other set, and has therefore read this one.

    Args:
        slots: shared memory, (2, ranks, numbers).
        rank: rank of this process.
        peers: a connection to each of the other ranks.
    """

    def __init__(self, slots: Tensor, rank: int, peers: list[socket.socket]) -> None:
        self._slots, self._rank, self._peers, self._turn = slots, rank, peers, 0

    @classmethod
    def of(cls, numbers: int, dtype: torch.dtype, memory: Path = _MEMORY) -> "SharedSum | None":
        """Allocate the shared memory. A collective operation: all ranks must call it, and be on one machine.

        Args:
            numbers: maximum length of a vector, on the CPU.
            dtype: data type of the vectors.
            memory: a directory in shared memory; if it does not exist, the directory for temporary files is used.

        Returns:
            None, on every rank, if there is not enough shared memory.
        """
        rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        size = 2 * world * numbers
        if size * dtype.itemsize > _MOST_BYTES:
            return None
        folder = _make_room(size * dtype.itemsize, memory) if rank == 0 else None
        place = [folder.name if folder else None]
        torch.distributed.broadcast_object_list(place)
        if place[0] is None:
            return None
        path = Path(place[0])
        slots = torch.from_file(str(path / "slots"), shared=True, size=size, dtype=dtype).view(2, world, numbers)
        peers = _connect(path, rank, world)
        torch.distributed.barrier()  # all ranks have opened it: the folder is no longer needed
        if folder:
            folder.cleanup()
        return cls(slots, rank, peers)

    def __call__(self, vector: Tensor) -> None:
        """Replace ``vector`` by its sum over the ranks.

        Raises:
            torch.distributed.DistError: another rank has exited or does not respond.
        """
        self._turn = 1 - self._turn
        slots = self._slots[self._turn, :, : len(vector)]
        slots[self._rank].copy_(vector)
        try:
            for peer in self._peers:
                peer.send(b".")
            answers = [peer.recv(1) for peer in self._peers]
        except OSError as error:
            raise torch.distributed.DistError(f"another rank has ended or hangs ({error.strerror})") from error
        if not all(answers):
            raise torch.distributed.DistError("another rank has ended")
        torch.sum(slots, 0, out=vector)

    def hook(self, ddp: DistributedDataParallel) -> None:
        """Register a communication hook with which ``ddp`` averages gradients in shared memory."""
        ddp.register_comm_hook(None, lambda _, bucket: self._average(bucket))  # DDP checks annotations

    def _average(self, bucket: Any) -> torch.futures.Future[Tensor]:
        gradient = bucket.buffer().div_(len(self._peers) + 1)
        self(gradient)
        done: torch.futures.Future[Tensor] = torch.futures.Future()
        done.set_result(gradient)
        return done


def _make_room(size: int, memory: Path) -> "tempfile.TemporaryDirectory[str] | None":
    """A temporary folder with the file ``slots``, accessible only to this user; None if there is not enough memory."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="ranks-", dir=memory if memory.is_dir() else None)
        # Written, not truncated to that length: a page that cannot be allocated on access would kill the process.
        Path(folder.name, "slots").write_bytes(bytes(size))
    except OSError as error:
        log.info("no %d bytes of memory to share (%s): gloo adds up the gradients, slower", size, error.strerror)
        return None
    return folder


def _connect(folder: Path, rank: int, world: int) -> list[socket.socket]:
    """Connect each pair of ranks by Unix sockets in ``folder``."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / f"rank-{rank}"))
        door.listen(world)
        torch.distributed.barrier()  # all ranks listen
        peers = []
        for other in range(rank):
            peers.append(socket.socket(socket.AF_UNIX))
            peers[-1].connect(str(folder / f"rank-{other}"))
        peers.extend(door.accept()[0] for _ in range(rank + 1, world))
    for peer in peers:  # Python's socket timeout would cost an additional system call per read
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _PATIENCE_S, 0))
    return peers
