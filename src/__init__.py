"""Experiment tracking on PyTorch Lightning, Hydra and TensorBoard. The packages, from top to bottom:

    completion    entry point: completion of the commands in a shell
    api           entry point: training from Python
    train, evaluate, predict, export, explain    entry points
    runs/         entry point: list, compare, tag, remove, report and reproduce recorded runs
    dashboard/    entry point: TensorBoard for selected runs
    command       what the entry points for finished runs share
    importers/    runs of MLflow and TensorBoard as records
    analysis/     evaluation, robustness, calibration, predictions, attribution, export of finished runs
    views/        tables, cards, leaderboards, reports of records
    sweeps/       the jobs of a sweep, searches with Optuna, trial pruning
    training/     one run: its record, its training and test, checkpoints, resuming, reproducing
    callbacks/, loggers/    Lightning callbacks; TensorBoard, CSV, Weights & Biases, MLflow
    fast/         optimizer steps without the overhead of Lightning and autograd; selected in training/fit.py
    tasks/        the LightningModule, losses, attacks
    launching/    devices, the processes that train, signals, logs
    config/       from a command line to a validated, plain dict; never imports torch
    data/, models/, optim/    data sets as tensors on the device, networks, optimizers and schedules
    records/      run.json and sweep.json, finding them, locks, git; no framework
    bounds, errors, paths, files, formatting, randomness, masking, terminal, numerics, parsers    imported by all of the above

Imports point downwards only; ``make lint`` enforces it, also for imports inside functions (``[tool.importlinter]`` in
pyproject.toml).
"""

import gc
import sys
from importlib.util import find_spec

from src.numerics import set_environment

if sys.argv[:1] == ["-m"] and find_spec("hydra") is None:  # the value while ``python -m`` looks for the module
    sys.exit(
        f"error: {sys.executable} does not have the packages of this project: make install, then source .venv/bin/activate."
    )
set_environment()
# Importing torch and Lightning makes some hundred thousand objects and hardly any garbage; looking through them for it
# again and again would take a tenth of the start of a run.
gc.set_threshold(50_000)
