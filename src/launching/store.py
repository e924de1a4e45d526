"""The store shared by the ranks of torchrun or srun: all ranks register, rank 0 publishes the run, a failed rank ends all.

torch's waits last minutes, block signal handlers, and do not report what they wait for. Here every call to the store is made in
a thread and returns immediately, and the main thread waits in Python.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

import psutil

from src.errors import ConfigError, Interrupted, UserError
from src.launching.cluster import RankInfo
from src.launching.processes import RankFailed, loopback
from src.launching.stop import STOP

T = TypeVar("T")

# Timeout in seconds for ranks to register: on a cluster a machine may have to boot first.
_PATIENCE_S = 300.0
# Longer waits are printed; ranks that are started together register within this time.
_SILENT_S = 5.0
_LOOK_EVERY_S = 0.2
# Timeout of a call to the store, after which the machine of rank 0 is considered unreachable.
_CALL_S = 10.0
# Maximum time in seconds between the same error in two ranks.
_PRINT_S = 2.0
# Rank 0 serves the store and therefore leaves last; a rank that has not left within this time has been killed.
_LINGER_S = 10.0


class RankStore:
    """Connection of a rank to the store of all ranks, opened by ``connect``.

    To be created before torch is imported, which otherwise prints a stack trace for every connection that another rank closes.

    Args:
        ranks: rank of this process.
    """

    def __init__(self, ranks: RankInfo) -> None:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        self.ranks = ranks
        self._patience = _PATIENCE_S
        self._lost: tuple[type[Exception], ...] = (TimeoutError,)
        self._store: Any = None
        self._serves = ranks.rank == 0 and not ranks.agent_store
        self._address = ""
        self._published = False

    def connect(self, patience: float = _PATIENCE_S) -> None:
        """Connect to the server, which rank 0 may start in this process.

        Args:
            patience: timeout in seconds for rank 0, and later for other ranks to register.

        Raises:
            UserError: rank 0 cannot be reached.
            ConfigError: this is rank 0, and it cannot serve the store; or the server's address is unknown.
        """
        from torch.distributed import DistError, PrefixStore, TCPStore  # type: ignore[attr-defined]

        host, port = self.ranks.master_addr, self.ranks.master_port
        if host is None or port is None:
            raise ConfigError(
                f"RANK={self.ranks.rank} is set, and MASTER_ADDR or MASTER_PORT is not: start the command by torchrun or "
                "srun, or unset RANK."
            )
        self._patience, self._lost = patience, (DistError, TimeoutError)
        if self._serves:
            try:
                store = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
            except DistError as error:
                raise ConfigError(
                    f"MASTER_PORT={port}: rank 0 cannot listen there ({str(error).splitlines()[0]}): set another."
                ) from error
        else:
            refusal = ""

            def reach() -> str | None:
                nonlocal refusal
                try:
                    with socket.create_connection((host, port), timeout=1) as probe:
                        return str(probe.getsockname()[0])
                except OSError as error:
                    refusal = error.strerror or "no answer"
                    return None

            self._address = self._wait(reach, lambda: f"rank 0 at {host}:{port} ({refusal})")
            store = _call(lambda: TCPStore(host, port, is_master=False))
        # When torchrun restarts the ranks, its server still contains the messages of the previous ones.
        self._store = PrefixStore(f"ranks-{self.ranks.restarts}", store)

    def register(self) -> None:
        """Register this rank, after connecting if necessary; rank 0 waits until all ranks have registered.

        Raises:
            UserError: a rank has not registered in time, or has failed.
        """
        if self._store is None:
            self.connect()
        self._call("set", f"rank-{self.ranks.rank}", json.dumps({"node": self.ranks.node, "address": self._address}))
        if self.ranks.rank == 0:
            missing: list[int] = []

            def all_here() -> bool | None:
                missing[:] = [n for n in range(self.ranks.world_size) if not self._store.check([f"rank-{n}"])]
                return True if not missing else None

            self._wait(
                all_here, lambda: f"rank {', '.join(map(str, missing[:8]))}{' ...' * (len(missing) > 8)} to start"
            )

    def publish(self, message: Mapping[str, Any]) -> None:
        """Publish a message of rank 0; only the first message counts."""
        if not self._published:
            self._published = True
            self._call("set", "message", json.dumps(message))

    def wait_for_message(self) -> dict[str, Any]:
        """Wait for the message of rank 0.

        Raises:
            UserError: rank 0 has failed or does not respond.
        """

        def published() -> dict[str, Any] | None:
            return json.loads(self._store.get("message")) if self._store.check(["message"]) else None

        # Rank 0 may first wait for other ranks.
        return self._wait(published, lambda: "rank 0 to begin", 2 * self._patience)

    def fail(self, error: BaseException) -> None:
        """Publish that this rank has failed or was stopped by a signal; only the first failure of all ranks counts.

        Before this rank is connected no other rank depends on it, except for errors that occur only on this machine.
        """
        if self._store is None and self.ranks.node and isinstance(error, ConfigError):
            with suppress(UserError):
                self.connect(_SILENT_S)
        if self._store is None:
            return
        if isinstance(error, Interrupted):
            failure: dict[str, Any] = {"signum": error.signum}
        else:
            failure = {"message": str(error), "details": getattr(error, "details", None)}
        failure |= {"rank": self.ranks.rank, "host": socket.gethostname()}
        with suppress(*self._lost):
            self._call("compare_set", "failure", "", json.dumps(failure))

    def failure(self) -> BaseException | None:
        """The failure of another rank as an exception to be raised in this one; None if there is none."""
        try:
            if not self._call("check", ["failure"]):
                return None
            failure = json.loads(self._call("get", "failure"))
        except self._lost:
            return UserError("rank 0 has ended, or its machine cannot be reached any more: see its output.")
        if "signum" in failure:
            return Interrupted(failure["signum"])
        message = f"rank {failure['rank']} on {failure['host']}: {failure['message']}"
        return UserError(message) if failure["details"] is None else RankFailed(message, failure["details"])

    def prints(self, error: Exception) -> bool:
        """Whether this rank prints an error: only the first rank of each machine, since errors may differ between machines."""
        rank_0_knows = self._store is not None or isinstance(error, ConfigError)
        return self.ranks.local_rank == 0 or not rank_0_knows

    def let_print(self) -> None:
        """Wait until the rank that prints an error has ended, for at most two seconds.

        torchrun stops the other ranks when one has ended, and would stop that rank before it has printed.
        """
        with suppress(Interrupted):
            time.sleep(_PRINT_S)

    def leave(self, status: int) -> None:
        """Leave the store. Ranks that are still waiting for a run exit with rank 0's status.

        If rank 0 serves the store, it waits shortly for ranks that still read from it.
        """
        if self._store is None:
            return
        with suppress(Interrupted, *self._lost):
            if self.ranks.rank:
                self._call("add", "left", 1)
                return
            self.publish({"exit_status": status})
            until = time.monotonic() + (_LINGER_S if self._serves and status - 128 not in STOP else 0)
            while time.monotonic() < until and self._call("add", "left", 0) < self.ranks.world_size - 1:
                time.sleep(_LOOK_EVERY_S)

    def interface(self) -> dict[str, str]:
        """The variables that select the network interface of gloo and NCCL, without those that the user has set.

        By default gloo uses the address that the host name resolves to, often a loopback address, and NCCL the first interface it
        finds. Ranks on a single machine use the loopback interface. On several machines it is the interface of the route to
        the machine of rank 0, and on that machine, whose host name may resolve to a loopback address, the interface of the
        route to the second machine. All ranks must have registered.
        """
        if self.ranks.nodes == 1:
            return loopback()
        address = self._address
        if self.ranks.node == 0:
            ranks = (json.loads(self._call("get", f"rank-{n}")) for n in range(self.ranks.world_size))
            address = _own_address_towards(next(rank["address"] for rank in ranks if rank["node"] != 0))
        for name, addresses in psutil.net_if_addrs().items():
            if address in (one.address for one in addresses):
                # Without = NCCL would match every interface with this prefix.
                chosen = {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": f"={name}"}
                return {key: value for key, value in chosen.items() if key not in os.environ}
        return {}

    def _call(self, method: str, *args: object) -> Any:
        return _call(lambda: getattr(self._store, method)(*args))

    def _wait(self, ready: Callable[[], T | None], what: Callable[[], str], patience: float | None = None) -> T:
        """Call ``ready`` until it returns a value; a longer wait is printed once per machine."""
        begun, announced = time.monotonic(), not self.ranks.announces
        patience = patience or self._patience
        while (value := self._poll(ready)) is None:
            if self._store is not None and (failure := self.failure()):
                raise failure
            waited = time.monotonic() - begun
            if waited > patience:
                raise UserError(
                    f"waited {patience:.0f} s for {what()}, of {self.ranks.world_size} processes: {self._remedy}"
                )
            if waited > _SILENT_S and not announced:
                announced = True
                print(
                    f"waiting for {what()}, of {self.ranks.world_size} processes, for up to {patience:.0f} s (Ctrl-C stops); "
                    f"{self._remedy}",
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(_LOOK_EVERY_S)
        return value

    @property
    def _remedy(self) -> str:
        if self.ranks.slurm_tasks is not None:
            return (
                "srun must start this command itself, once for each task; in a shell of srun's, unset "
                "SLURM_STEP_NUM_TASKS to train in one process."
            )
        return "torchrun must run on every machine, with the same --nnodes and --master-addr."

    def _poll(self, ready: Callable[[], T | None]) -> T | None:
        try:
            return _call(ready)
        except self._lost:  # before connecting, a slow name server; afterwards ``failure`` reports the cause
            return None


def _call(function: Callable[[], T]) -> T:
    """Call a function that may block outside Python in a separate thread, so that this one still responds to signals.

    Raises:
        TimeoutError: the call exceeded the timeout.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(function())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer.result(timeout=_CALL_S)


def _own_address_towards(peer: str) -> str:
    """This machine's address on the route to ``peer``; sends no data."""
    family, kind, _, _, target = socket.getaddrinfo(peer, 1, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])
