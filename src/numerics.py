"""How this process computes: the floating-point and thread settings under which results and speed can be relied on.

MKL and OpenMP read theirs from the environment when torch is loaded, so ``set_environment`` is called by the package itself,
before anything imports torch. What a user has set in the environment is left as it is.
"""

import ctypes
import os
import sys
from pathlib import Path

# What decides how long OpenMP's threads wait actively, of the standard, of GCC's library and of LLVM's and Intel's.
_WAIT_POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# MKL's codes of instruction sets (``MKL_CBWR`` in its reference), and the bit that stands for "strict".
_BRANCHES = {2: "AUTO", 3: "COMPATIBLE", 9: "AVX", 10: "AVX2", 12: "AVX512", 14: "AVX512_E1"}
_STRICT, _SETTINGS_IN_FORCE = 0x10000, -1
OFF = "off"


def set_environment() -> None:
    """Choose MKL's and OpenMP's settings, for this process and for those it starts, unless torch has been imported.

    Matrix products of MKL's strict conditional numerical reproducibility do not depend on the number of threads. Threads that
    spin for a few microseconds only, in place of milliseconds, lose no time on an idle machine, and leave the core to the
    thread they wait for on a busy one.
    """
    if "torch" in sys.modules:
        return
    if "MKL_CBWR" not in os.environ and (branch := branch_for(_cpuinfo())):
        os.environ["MKL_CBWR"] = f"{branch},STRICT"
    if not any(name in os.environ for name in _WAIT_POLICIES):
        os.environ |= {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}  # loops; milliseconds, the least that it takes


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return ""


def branch_for(cpuinfo: str) -> str | None:
    """The instructions that MKL should use; None where its strict mode has not been tried, as on real processors of AMD's.

    Args:
        cpuinfo: what Linux tells about the processors.
    """
    about = {key.strip(): value.split() for key, _, value in (line.partition(":") for line in cpuinfo.splitlines())}
    flags = about.get("flags", [])
    if about.get("vendor_id") != ["GenuineIntel"]:
        return None
    return "AVX512" if "avx512f" in flags else "AVX2" if "avx2" in flags else None


def strict_mode() -> str:
    """The mode in which MKL's matrix products do not depend on the number of threads, such as ``AVX512,STRICT``, or ``off``.

    MKL itself is asked, since it ignores what it does not know.
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
    """Have this thread, and the threads it starts from now on, take numbers below the smallest normal float for zero.

    A processor takes a hundred times longer to compute with them, and Adam's running means of a unit that is never active
    decay until they are such numbers and stay that. To be called before torch starts its threads.
    """
    import torch

    torch.set_flush_denormal(True)  # False where the processor cannot; ``all_threads_flush`` tells


def all_threads_flush() -> bool:
    """Whether all of torch's threads take subnormal numbers for zero; those started before ``flush_subnormals`` do not."""
    import torch

    numbers = torch.get_num_threads() * 2**16  # torch gives each thread 2**15 of them or more
    flushed = torch.full((numbers,), 1e-40).mul_(1)
    return not flushed.view(torch.int32).any()
