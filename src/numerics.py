"""Process-wide settings: reproducible matrix products, wait policy of threads, flushing of subnormals, memory allocator.

MKL and OpenMP read the environment when torch is loaded, so the package calls ``set_environment`` before anything imports
torch. Variables set by the user are not overwritten.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# How long waiting OpenMP threads spin: the standard's variable, GCC's, and that of LLVM and Intel.
_WAIT_POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# MKL's codes for the instruction sets of conditional numerical reproducibility (CNR), and the flag for strict mode.
_BRANCHES = {2: "AUTO", 3: "COMPATIBLE", 9: "AVX", 10: "AVX2", 12: "AVX512", 14: "AVX512_E1"}
_STRICT, _SETTINGS_IN_FORCE = 0x10000, -1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
OFF = "off"


def set_environment() -> None:
    """Set MKL's and OpenMP's variables for this process and its children, unless torch is already imported.

    In MKL's strict CNR mode, matrix products do not depend on the number of threads. Threads that spin for microseconds
    instead of milliseconds cost nothing on an idle machine; on a busy one they yield the core to the thread they wait for.
    """
    if "torch" in sys.modules:
        return
    if "MKL_CBWR" not in os.environ and (branch := branch_for(_cpuinfo())):
        os.environ["MKL_CBWR"] = f"{branch},STRICT"
    if not any(name in os.environ for name in _WAIT_POLICIES):
        os.environ |= {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}  # iterations; milliseconds, its minimum


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return ""


def branch_for(cpuinfo: str) -> str | None:
    """The instruction set for MKL's strict mode; None where that mode has not been verified, as on AMD.

    Args:
        cpuinfo: the content of ``/proc/cpuinfo``.
    """
    about = {key.strip(): value.split() for key, _, value in (line.partition(":") for line in cpuinfo.splitlines())}
    flags = about.get("flags", [])
    if about.get("vendor_id") != ["GenuineIntel"]:
        return None
    return "AVX512" if "avx512f" in flags else "AVX2" if "avx2" in flags else None


def strict_mode() -> str:
    """MKL's current strict CNR mode, such as ``AVX512,STRICT``, or ``off``.

    The value comes from MKL itself, which ignores variables it does not support.
    """
    import torch

    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    if not (torch.backends.mkl.is_available() and library.exists()):
        return OFF
    ask = getattr(ctypes.CDLL(str(library)), "mkl_serv_cbwr_get", None)
    if ask is None:
        return OFF
    code = ask(_SETTINGS_IN_FORCE)
    if code < _STRICT:
        return OFF
    branch = code - _STRICT
    return f"{_BRANCHES.get(branch, branch)},STRICT"


def flush_subnormals() -> None:
    """Flush subnormal floats to zero in this thread and in the threads it starts; call it before torch starts any.

    Arithmetic on subnormals is many times slower. With ReLU, Adam's moments of a unit that is never active decay into that
    range and stay there.
    """
    import torch

    torch.set_flush_denormal(True)  # has no effect on some processors, see ``all_threads_flush``


def keep_freed_memory() -> None:
    """Let glibc keep up to 128 MiB of freed memory for the next allocation; no effect with other C libraries.

    By default glibc may return the memory of each chunk of batches to the system, depending on the rest of the heap, and
    get it back page by page: tens of thousands of page faults per epoch.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        # Blocks above the mmap threshold, of which this is the maximum, are returned to the system when they are freed.
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_M_TRIM_THRESHOLD, 128 * 2**20)


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which torch computes with one CPU thread.

    A process that has computed with several can no longer be forked: the child waits forever for threads that were not copied.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def all_threads_flush() -> bool:
    """Whether all of torch's CPU threads flush subnormals; threads started before ``flush_subnormals`` might not."""
    import torch

    numbers = torch.get_num_threads() * 2**16  # at least 2**15 for each thread, torch's grain size
    flushed = torch.full((numbers,), 1e-40).mul_(1)
    return not flushed.view(torch.int32).any()
