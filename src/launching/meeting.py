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
from src.launching.cluster import Place, adopted_slurm, place
from src.launching.stop import received

T = TypeVar("T")

# Seconds until ranks that have not arrived are given up: on a cluster a machine may boot first.
_PATIENCE_S = 300.0
# A wait that is longer is announced; ranks that were started together arrive within this time.
_SILENT_S = 5.0
_LOOK_EVERY_S = 0.2
# A call into the store that takes longer will not return: the machine of rank 0 cannot be reached any more.
_CALL_S = 10.0
# Rank 0 serves the store, and so leaves last; a rank that has not left by then has been killed.
_LINGER_S = 10.0

_meeting: "Meeting | None" = None


def meeting() -> "Meeting":
    """This process's connection to the store; made at the first call.

    Raises:
        UserError: rank 0 cannot be reached.
        ConfigError: this is rank 0, and it cannot serve the store.
    """
    global _meeting
    if _meeting is None:
        here = place()
        assert here is not None
        _meeting = Meeting(here)
    return _meeting


def leave(status: int) -> None:
    """Leave the store, if this process is connected to one; ranks that still wait for a run end with rank 0's status."""
    if _meeting is not None:
        _meeting.leave(status)


def report(error: BaseException) -> None:
    """Publish that this rank cannot go on, so that no other waits for it."""
    global _meeting
    if _meeting is None and isinstance(error, ConfigError) and (here := place()) and here.node:
        # Rank 0, on another machine, may have found nothing wrong there.
        with suppress(UserError):
            _meeting = Meeting(here, patience=_SILENT_S)
    if _meeting is not None:
        _meeting.fail(error)


def speaks(error: Exception) -> bool:
    """Whether this rank prints an error: the first on each machine, which may lack something that others have."""
    here = place()
    rank_0_knows = _meeting is not None or isinstance(error, ConfigError)
    return here is None or here.local_rank == 0 or not rank_0_knows


class Meeting:
    """One rank's connection to the store.

    Args:
        here: this process.
        patience: seconds until ranks that have not arrived are given up.

    Raises:
        UserError: rank 0 cannot be reached.
        ConfigError: this is rank 0, and it cannot serve the store.
    """

    def __init__(self, here: Place, patience: float = _PATIENCE_S) -> None:
        from torch.distributed import DistError, PrefixStore, TCPStore  # type: ignore[attr-defined]

        self._here, self._patience = here, patience
        self._lost = (DistError, TimeoutError)
        self._store: Any = None
        self._published = False
        if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
            raise ConfigError(
                f"RANK={here.rank} is set, and MASTER_ADDR or MASTER_PORT is not: start the command by torchrun or srun, "
                "or unset RANK."
            )
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self._serves = here.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        self._address = ""
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
        self._store = PrefixStore(f"ranks-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)

    def gather(self) -> None:
        """Register this rank; rank 0 waits until all have.

        Raises:
            UserError: some have not arrived in time, or one has failed.
        """
        self._call("set", f"rank-{self._here.rank}", json.dumps({"node": self._here.node, "address": self._address}))
        if self._here.rank == 0:
            missing: list[int] = []

            def all_here() -> bool | None:
                missing[:] = [n for n in range(self._here.world) if not self._store.check([f"rank-{n}"])]
                return True if not missing else None

            self._wait(
                all_here, lambda: f"rank {', '.join(map(str, missing[:8]))}{' ...' * (len(missing) > 8)} to start"
            )

    def publish(self, message: Mapping[str, Any]) -> None:
        """Publish what rank 0 has decided; only the first message counts."""
        if not self._published:
            self._published = True
            self._call("set", "message", json.dumps(message))

    def message(self) -> dict[str, Any]:
        """Wait for what rank 0 publishes.

        Raises:
            UserError: it has failed, or does not answer.
        """

        def published() -> dict[str, Any] | None:
            return json.loads(self._store.get("message")) if self._store.check(["message"]) else None

        # Rank 0 may itself wait for others first.
        return self._wait(published, lambda: "rank 0 to begin", 2 * self._patience)

    def fail(self, error: BaseException) -> None:
        """Publish that this rank has failed, or was told to stop; only the first failure among all ranks counts."""
        if isinstance(error, Interrupted):
            failure: dict[str, Any] = {"signum": error.signum}
        else:
            failure = {"message": str(error), "details": getattr(error, "details", None)}
        failure |= {"rank": self._here.rank, "host": socket.gethostname()}
        with suppress(*self._lost):
            self._call("compare_set", "failure", "", json.dumps(failure))

    def failure(self) -> BaseException | None:
        """What has ended another rank, as an exception to be raised here; None while all is well."""
        from src.launching.ranks import RankFailed

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

    def leave(self, status: int) -> None:
        """End this rank's part; rank 0 stays for a moment, where it serves the store to ranks that still read it."""
        with suppress(*self._lost):
            if self._here.rank:
                self._call("add", "left", 1)
                return
            self.publish({"exit_status": status})
            until = time.monotonic() + (_LINGER_S if self._serves and not received() else 0)
            while time.monotonic() < until and self._call("add", "left", 0) < self._here.world - 1:
                time.sleep(_LOOK_EVERY_S)

    def choose_interface(self) -> None:
        """Set the network interface for gloo and NCCL, where the user has not; for all ranks, once all have registered.

        Left alone, gloo announces the address that this machine's name resolves to, often one of the loopback interface;
        and NCCL the first interface it finds. Here it is the one that leads to the machine of rank 0; and on that, whose own
        name may well be a loopback address to itself, the one that leads to the second machine.
        """
        address = self._address
        if self._here.node == 0:
            ranks = (json.loads(self._call("get", f"rank-{n}")) for n in range(self._here.world))
            address = _own_address_towards(next(rank["address"] for rank in ranks if rank["node"] != 0))
        for name, addresses in psutil.net_if_addrs().items():
            if address in (one.address for one in addresses):
                os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
                os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={name}")  # without = every name that begins so

    def _call(self, method: str, *args: object) -> Any:
        return _call(lambda: getattr(self._store, method)(*args))

    def _wait(self, ready: Callable[[], T | None], what: Callable[[], str], patience: float | None = None) -> T:
        """Call ``ready`` until it returns something, and announce a longer wait once on each machine."""
        begun, announced = time.monotonic(), not self._here.announces
        patience = patience or self._patience
        while (value := self._poll(ready)) is None:
            if self._store is not None and (failure := self.failure()):
                raise failure
            waited = time.monotonic() - begun
            if waited > patience:
                raise UserError(f"waited {patience:.0f} s for {what()}, of {self._here.world} processes: {_remedy()}")
            if waited > _SILENT_S and not announced:
                announced = True
                print(
                    f"waiting for {what()}, of {self._here.world} processes, for up to {patience:.0f} s (Ctrl-C stops); "
                    f"{_remedy()}",
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(_LOOK_EVERY_S)
        return value

    def _poll(self, ready: Callable[[], T | None]) -> T | None:
        try:
            return _call(ready)
        except self._lost:  # before there is a connection, a slow name server; afterwards ``failure`` explains it
            return None


def _remedy() -> str:
    if adopted_slurm():
        return (
            "srun must start this command itself, once for each task; in a shell of srun's, unset SLURM_STEP_NUM_TASKS to "
            "train in one process."
        )
    return "torchrun must run on every machine, with the same --nnodes and --master-addr."


def _call(function: Callable[[], T]) -> T:
    """Call what may block outside Python from a thread of its own, so that this one still answers to signals.

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
