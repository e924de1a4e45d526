"""The turn of one contender, in a separate process.

Threads, floating-point mode and the environment variables of MKL and OpenMP apply to a whole process, so contenders must not
share one.
"""

import importlib
import json
import subprocess
import sys
from typing import Any

from benchmarks import ENVIRONMENT


def take_turn(function: str, *args: Any, threads: int) -> list[float]:
    """Call a function in a new process.

    Args:
        function: ``module:name``; returns the seconds of each epoch.
        args: its arguments, JSON-serialisable.
        threads: value of OMP_NUM_THREADS in that process.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.turns", function, json.dumps(args)],
        env={**ENVIRONMENT, "OMP_NUM_THREADS": str(threads)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    print(json.dumps(getattr(importlib.import_module(module), name)(*json.loads(sys.argv[2]))))
