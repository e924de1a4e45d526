"""Floating-point settings."""

import subprocess
import sys

import pytest

from src.numerics import branch_for

INTEL, AMD = "vendor_id\t: GenuineIntel\n", "vendor_id\t: AuthenticAMD\n"


@pytest.mark.parametrize(
    ("cpuinfo", "branch"),
    [
        (INTEL + "flags\t\t: fpu avx2 avx512f\n", "AVX512"),
        (INTEL + "flags\t\t: fpu avx avx2\n", "AVX2"),
        (INTEL + "flags\t\t: fpu avx\n", None),
        (AMD + "flags\t\t: fpu avx2 avx512f\n", None),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", None),
        ("", None),
    ],
)
def test_strict_products_are_chosen_by_the_processor(cpuinfo: str, branch: str | None) -> None:
    assert branch_for(cpuinfo) == branch


def test_freed_memory_is_kept():
    code = """
import ctypes, os, platform, resource, sys
for name in list(os.environ):
    if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES":
        del os.environ[name]
import torch
from src.numerics import keep_freed_memory
if (library := platform.libc_ver()[0]) == "glibc":
    ctypes.CDLL(None).mallopt(-3, 2**17)  # map blocks from 128 KiB, which glibc begins with
if sys.argv[1] == "keep":
    keep_freed_memory()
for number in range(20):
    if number == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    parts = [torch.ones(2**20) for _ in range(3)]  # 12 MiB, 3072 pages
    del parts
print(library, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True, check=True)
        library, number = done.stdout.split()
        if library != "glibc":
            pytest.skip(f"{library} is not glibc")
        return int(number)

    assert faults("keep") < 3072 < 10 * 3072 <= faults("as it is")
