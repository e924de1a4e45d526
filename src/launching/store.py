"""The store that the ranks of torchrun or srun share: all register, rank 0 publishes what to train, a failure of one ends all.

torch's own waits last minutes, let no signal handler run, and do not report what they wait for. Here every call into the
store is made from a thread and returns at once, and the main thread waits in Python.
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

# Timeout in seconds for ranks to register: on a cluster a machine may boot first.
_PATIENCE_S = 300.0
# A wait that is longer is announced; ranks that were started together arrive within this time.
_SILENT_S = 5.0
_LOOK_EVERY_S = 0.2
# A call into the store that takes longer will not return: the machine of rank 0 cannot be reached any more.
_CALL_S = 10.0
# Rank 0 serves the store, and so leaves last; a rank that has not left by then has been killed.
_LINGER_S = 10.0


class RankStore:
    """One rank's connection to the store of all ranks; none until ``connect``.

    Make it before torch is imported, which else prints a stack for every connection that another rank closes.

    Args:
        ranks: this process.
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
        """Connect to the server, which on rank 0 may be this process itself.

        Args:
            patience: seconds until rank 0, and later others that have not arrived, are given up.

        Raises:
            UserError: rank 0 cannot be reached.
            ConfigError: this is rank 0, and it cannot serve the store; or the server's address is not known.
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
        # A server that torchrun restarts the ranks with holds what the ranks before them published.
        self._store = PrefixStore(f"ranks-{self.ranks.restarts}", store)

    def register(self) -> None:
        """Register this rank; rank 0 waits until all have. Connects if that has not been done.

        Raises:
            UserError: some have not arrived in time, or one has failed.
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
        """Publish what rank 0 has decided; only the first message counts."""
        if not self._published:
            self._published = True
            self._call("set", "message", json.dumps(message))

    def wait_for_message(self) -> dict[str, Any]:
        """Wait for what rank 0 publishes.

        Raises:
            UserError: it has failed, or does not answer.
        """

        def published() -> dict[str, Any] | None:
            return json.loads(self._store.get("message")) if self._store.check(["message"]) else None

        # Rank 0 may itself wait for others first.
        return self._wait(published, lambda: "rank 0 to begin", 2 * self._patience)

    def fail(self, error: BaseException) -> None:
        """Publish that this rank has failed or was stopped by a signal; only the first failure among all ranks counts.

        Where this rank is not connected yet no other depends on it, except for what is wrong on this machine alone.
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
        """The failure of another rank, as an exception to be raised here; None if there is none."""
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
        """Whether this rank prints an error: the first on each machine, which may lack something that others have."""
        rank_0_knows = self._store is not None or isinstance(error, ConfigError)
        return self.ranks.local_rank == 0 or not rank_0_knows

    def leave(self, status: int) -> None:
        """End this rank's part. Ranks that still wait for a run end with rank 0's status.

        Rank 0 stays for a moment, where it serves the store to ranks that still read it.
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
        """The variables that select the network interface for gloo and NCCL, without those that the user has set.

        Left alone, gloo announces the address that this machine's name resolves to, often one of the loopback interface;
        and NCCL the first interface it finds. The ranks of one machine use the loopback interface alone. On several it is
        the one that leads to the machine of rank 0; and on that, whose own name may well be a loopback address to itself,
        the one that leads to the second machine. All ranks have registered by then.
        """
        if self.ranks.nodes == 1:
            return loopback()
        address = self._address
        if self.ranks.node == 0:
            ranks = (json.loads(self._call("get", f"rank-{n}")) for n in range(self.ranks.world_size))
            address = _own_address_towards(next(rank["address"] for rank in ranks if rank["node"] != 0))
        for name, addresses in psutil.net_if_addrs().items():
            if address in (one.address for one in addresses):
                # Without = NCCL would take every interface whose name begins so.
                chosen = {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": f"={name}"}
                return {key: value for key, value in chosen.items() if key not in os.environ}
        return {}

    def _call(self, method: str, *args: object) -> Any:
        return _call(lambda: getattr(self._store, method)(*args))

    def _wait(self, ready: Callable[[], T | None], what: Callable[[], str], patience: float | None = None) -> T:
        """Call ``ready`` until it returns something, and announce a longer wait once on each machine."""
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
        except self._lost:  # before there is a connection, a slow name server; afterwards ``failure`` explains it
            return None


def _call(function: Callable[[], T]) -> T:
    """Call a function that may block outside Python in a separate thread, so that this one still responds to signals.

    Raises:
        TimeoutError: it takes too long.
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
    """This machine's address on the route to another; nothing is sent."""
    family, kind, _, _, target = socket.getaddrinfo(peer, 1, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])
