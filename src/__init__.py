"""Experiment tracking on PyTorch Lightning, Hydra and TensorBoard. The rooms, and what flows through them:

    train.py      compose -> check -> claim a directory -> run; the way in
    resume.py     what may be said about a run that goes on
    evaluate.py   test a finished run again
    predict.py    let a finished run say what is in pictures
    robustness.py how its model bears corrupted and attacked images
    calibration.py a temperature that makes its confidence believable
    explain.py    which pixels speak for what it says
    export.py     a finished run's model as a file that runs without this project
    exporting/    how: as programs of their own, checked against the original
    command.py    what the commands on finished runs have in common
    runs/         the runs that have been made: find, compare, tag, clear away, report, reproduce
    dashboard/    TensorBoard over them
    run.py        one run: its record opened, trained, its record closed
    fit.py        one training as each process runs it: data, model, trainer, test
    unsupported.py classes that would be accepted and then ignored
    numerics.py   floating-point and threading settings, set before torch is imported
    terminal.py   output in any encoding, which may be closed at any time
    files.py      files that are whole at every moment
    masking.py    secrets kept out of everything that is written or displayed
    config/       from a command line to a checked, plain dict; never imports torch
    launching/    which devices there are; the processes that train, and where they meet; signals
    sweeps/       a sweep's record, the search, the leaderboard
    tracking/     the run's directory and record, TensorBoard, the card at the end
    callbacks/    what watches a training
    data/         data sets as tensors on the device, cut into chunks of batches
    model/        networks, the LightningModule that trains them, how it takes its steps, on many ranks too, schedules

Dependencies point downwards. data/ and model/ know nothing of Hydra, of run directories or of the command line.
"""

import gc

from src.numerics import set_environment

set_environment()
# Importing torch and Lightning makes some hundred thousand objects and hardly any garbage; looking through them for it
# again and again would take a tenth of the start of a run.
gc.set_threshold(50_000)
