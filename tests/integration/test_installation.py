"""Installation: the two lock files, and what make installs of them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.paths import ROOT

RUNTIME, ALL = "requirements.lock", "requirements-dev.lock"
READY, READY_ALL = ".venv/.ready", ".venv/.ready-all"


def _pins(lock: str) -> dict[str, list[str]]:
    """Hashes by pinned requirement, such as ``numpy==2.4.6``, with its marker."""
    pins: dict[str, list[str]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if line.startswith("    --hash="):
            pins[list(pins)[-1]].append(line.strip(" \\"))
        else:
            pins[line.removesuffix(" \\")] = []
    return pins


def test_the_runtime_is_part_of_everything():
    runtime, everything = _pins(RUNTIME), _pins(ALL)
    assert runtime == {pin: everything.get(pin) for pin in runtime}
    assert len(runtime) < len(everything)


@pytest.mark.parametrize("lock", [RUNTIME, ALL])
def test_a_lock_has_a_version_and_hashes_for_each_package_and_no_address(lock: str):
    for pin, hashes in _pins(lock).items():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .*)?", pin)
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", value) for value in hashes)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", RUNTIME, ALL):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    return tmp_path


def _installed_by(target: str, checkout: Path) -> list[str]:
    """The locks that ``make target`` would install."""
    command = ["make", "--dry-run", target]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60, check=True)
    return re.findall(r"uv pip install .* --requirement (\S+)", done.stdout)


# Each case is the order in which the files were written.
@pytest.mark.parametrize(
    ("written", "by_train", "by_test"),
    [
        pytest.param([RUNTIME, ALL], [RUNTIME], [RUNTIME, ALL], id="nothing installed"),
        pytest.param([RUNTIME, ALL, READY], [], [ALL], id="trained, not yet tested"),
        pytest.param([RUNTIME, ALL, READY, READY_ALL], [], [], id="everything installed"),
        pytest.param([ALL, READY, READY_ALL, RUNTIME], [RUNTIME], [RUNTIME, ALL], id="the runtime changed"),
        pytest.param([RUNTIME, READY, READY_ALL, ALL], [], [ALL], id="an extra changed"),
        pytest.param([ALL, READY_ALL, RUNTIME, READY], [], [ALL], id="the runtime changed, and was installed by train"),
    ],
)
def test_make_installs_what_a_target_needs(checkout: Path, written: list[str], by_train: list[str], by_test: list[str]):
    for second, name in enumerate(written):
        (checkout / name).touch()
        os.utime(checkout / name, (1_700_000_000 + second,) * 2)
    assert _installed_by("train", checkout) == by_train
    for target in ("test", "test-slow", "lint", "docs", "install-all"):
        assert _installed_by(target, checkout) == by_test


@pytest.mark.parametrize(("target", "marker"), [("install", READY), ("install-all", READY_ALL)])
def test_make_is_quick_when_nothing_is_to_be_done(target: str, marker: str):
    if shutil.which("make") is None or not (ROOT / marker).exists():
        pytest.skip(f"not set up by make {target}")
    done = subprocess.run(["make", target], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "pip" not in done.stdout


@pytest.mark.parametrize(
    ("launcher", "package"),
    [
        ("ray", "hydra-ray-launcher"),
        ("ray_cluster", "hydra-ray-launcher"),
        ("slurm", "hydra-submitit-launcher"),
        ("joblib", "hydra-joblib-launcher"),
    ],
)
def test_a_launcher_that_is_not_installed_is_named_with_its_package(launcher: str, package: str):
    code = (
        f"import sys\nsys.modules['hydra_plugins.{package.replace('-', '_')}'] = None\n"
        "from src.train import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "-m", f"hydra/launcher={launcher}", "seed=1,2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: hydra/launcher={launcher} needs {package}, which is not installed: "
        f"make install-all, or pip install {package}.\n"
    )


def test_a_python_without_the_packages_is_named_with_the_remedy():
    """As where the environment is not activated; ``-S`` hides its packages."""
    done = subprocess.run([sys.executable, "-S", "-m", "src.train"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "does not have the packages of this project: make install, then source .venv/bin/activate" in done.stderr
    assert len(done.stderr.splitlines()) == 1
