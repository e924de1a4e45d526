"""Clusters for tests: SLURM with one node, two network namespaces as two machines, Ray with two nodes, PostgreSQL."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from src.paths import ROOT
from tests.helpers.boards import wait_for

Prefix = list[str]
PASSWORD = "pw-of-a-database"


def need(*programs: str, package: str) -> None:
    """Skip the test where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} here: it comes with Debian's {package}")
    if os.geteuid():
        pytest.skip(f"{programs[0]} is started here by root alone")


def ports(count: int) -> list[int]:
    """Free ports of the loopback interface."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process and what it has started."""
    with contextlib.suppress(psutil.Error):
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.Error):
                one.kill()
    process.wait()


class Slurm:
    """SLURM with one node, this machine.

    Args:
        folder: for its files, which munge requires to belong to root alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[str]] = {}

    def configure(self) -> None:
        name, (controller, node) = socket.gethostname().partition(".")[0], ports(2)
        (self.folder / "state").mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        (self.folder / "slurm.conf").write_text(
            f"""ClusterName=tests
SlurmctldHost={name}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
JobRequeue=1
KillWait=5
NodeName={name} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
        )

    def start(self, *daemons: str) -> None:
        """Start munged, slurmctld or slurmd, and wait until the node is idle."""
        munge = [
            f"--{name}={self.folder}/munge.{name.removesuffix('-file')}"
            for name in ("key-file", "pid-file", "log-file")
        ]
        munge += [
            f"--socket={self.folder}/munge.socket",
            f"--seed-file={self.folder}/munge.seed",
            "--force",
            "--foreground",
        ]
        commands = {"munged": munge, "slurmctld": ["-D"], "slurmd": ["-D"]}
        for daemon in daemons:
            with (self.folder / f"{daemon}.out").open("a") as out:
                self._daemons[daemon] = subprocess.Popen(
                    [daemon, *commands[daemon]], env=self.environment, stdout=out, stderr=out, text=True
                )
            if daemon == "munged":
                wait_for(lambda: (self.folder / "munge.socket").exists())
        self.say("scontrol", "update", "NodeName=ALL", "State=RESUME")  # a node that was killed
        wait_for(lambda: self.say("sinfo", "--noheader", "--format=%T") in ("idle", "mixed", "allocated"))

    def say(self, *words: str) -> str:
        """What a command of SLURM's prints."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True).stdout.strip()

    def states(self) -> list[str]:
        """The state of each job in the queue."""
        return self.say("squeue", "--noheader", "--array", "--format=%T").split()

    def start_pending_jobs(self) -> None:
        """Start what was put back into the queue, once its node has cleaned up; SLURM by itself waits for two minutes."""
        time.sleep(5)  # started at once, they would be ended as what ran there before
        for job in set(self.say("squeue", "--noheader", "--format=%F").split()):
            self.say("scontrol", "update", f"JobId={job}", "StartTime=now")

    def kill_node(self) -> None:
        """Kill the node's daemon and all that runs on it, as a machine does that loses its power."""
        steps = [one for one in psutil.process_iter(["name"]) if one.info["name"] == "slurmstepd"]
        end(self._daemons.pop("slurmd"))
        for step in steps:
            with contextlib.suppress(psutil.Error):
                for one in [*step.children(recursive=True), step]:
                    one.kill()
        # The controller notices by itself, after a minute.
        self.say("scontrol", "update", "NodeName=ALL", "State=DOWN", "Reason=killed")

    def stop(self) -> None:
        for daemon in reversed(self._daemons.values()):
            end(daemon)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """See ``Slurm``."""
    need("munged", "slurmctld", "slurmd", "srun", package="munge and slurm-wlm")
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        cluster = Slurm(Path(folder))
        try:
            cluster.configure()
            cluster.start("munged", "slurmctld", "slurmd")
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def two_machines() -> Iterator[tuple[Prefix, Prefix]]:
    """Two network namespaces joined by a cable, as prefixes of commands; to each its own name is a loopback address."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    one, two = (f"machine-{os.getpid()}-{n}" for n in range(2))
    try:
        ip("netns", "add", one)
        ip("netns", "add", two)
        ip("link", "add", "cable", "netns", one, "type", "veth", "peer", "name", "cable", "netns", two)
        for n, name in enumerate((one, two)):
            ip("-n", name, "address", "add", f"10.77.0.{n + 1}/24", "dev", "cable")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "cable", "up")
        yield ["ip", "netns", "exec", one], ["ip", "netns", "exec", two]
    except FileNotFoundError:
        pytest.skip("network namespaces need iproute2's ip")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")
    finally:
        for name in (one, two):
            if Path("/run/netns", name).exists():
                for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                ip("netns", "delete", name)


class RayCluster:
    """Ray with a node on each of two machines, the first of which leads.

    Args:
        machines: prefixes of their commands.
        folder: for its files; by default it would leave its address for other programs to find.

    Attributes:
        environment: variables with which commands are admitted.
    """

    def __init__(self, machines: tuple[Prefix, Prefix], folder: Path) -> None:
        self.machines, self.folder = machines, folder
        self.address = "10.77.0.1:6379"
        self.environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        self._nodes: list[subprocess.Popen[str]] = []

    def start(self, *, cores_of_head: int = 1, **variables: str) -> None:
        """Start the nodes with these environment variables, which jobs inherit; without cores a node runs none."""
        head = ["--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        for number, words in enumerate((head, [f"--address={self.address}"])):
            program = str(Path(sys.executable).with_name("ray"))
            cores = 1 if number else cores_of_head
            words = ["--block", f"--num-cpus={cores}", f"--node-ip-address=10.77.0.{number + 1}", *words]
            with (self.folder / f"node{number}.out").open("w") as out:
                command = [*self.machines[number], program, "start", *words]
                self._nodes.append(
                    subprocess.Popen(
                        command, env={**self.environment, **variables}, stdout=out, stderr=out, text=True, cwd=ROOT
                    )
                )
            wait_for(lambda: self.alive() == len(self._nodes))

    def alive(self) -> int:
        """Nodes that answer."""
        code = f"import ray; ray.init({self.address!r}, logging_level='ERROR'); print(sum(n['Alive'] for n in ray.nodes()))"
        command = [*self.machines[0], sys.executable, "-c", code]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=ROOT)
        return int(done.stdout.split()[-1]) if done.returncode == 0 else 0

    def kill_node(self) -> None:
        """Kill the second node with all that runs on it."""
        end(self._nodes[1])

    def stop(self) -> None:
        for node in reversed(self._nodes):
            end(node)


@pytest.fixture
def ray_cluster(two_machines: tuple[Prefix, Prefix]) -> Iterator[RayCluster]:
    """See ``RayCluster``."""
    pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        cluster = RayCluster(two_machines, Path(folder))
        try:
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def postgres(two_machines: tuple[Prefix, Prefix]) -> Iterator[str]:
    """The address of a PostgreSQL database on the first of two machines, with its password."""
    pytest.importorskip("psycopg")
    need("runuser", package="util-linux")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("there is no PostgreSQL here: it is Debian's package postgresql")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    as_postgres = ["runuser", "-u", "postgres", "--"]
    password = folder / "password"
    password.write_text(PASSWORD)
    os.chown(password, user.pw_uid, user.pw_gid)
    programs, data = found[-1].parent, folder / "data"
    subprocess.run(
        [*as_postgres, programs / "initdb", "-D", data, "-A", "scram-sha-256", f"--pwfile={password}"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    with (data / "pg_hba.conf").open("a") as file:
        file.write("host all all 10.77.0.0/24 scram-sha-256\n")
    options = ["-c", "listen_addresses=10.77.0.1", "-k", str(folder)]
    server = subprocess.Popen(
        [*two_machines[0], *as_postgres, programs / "postgres", "-D", data, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        text=True,
    )
    try:
        wait_for(lambda: (folder / ".s.PGSQL.5432").exists())
        yield f"postgresql+psycopg://postgres:{PASSWORD}@10.77.0.1/postgres"
    finally:
        server.send_signal(signal.SIGTERM)
        end(server)
        shutil.rmtree(folder, ignore_errors=True)
