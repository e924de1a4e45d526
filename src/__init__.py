"""Experiment tracking on PyTorch Lightning, Hydra and TensorBoard. The rooms, and what flows through them:

    train.py      compose -> check -> launch -> fit -> record; the way in
    evaluate.py   test a finished run again
    fit.py        one training as each process runs it: data, model, trainer, test
    config/       from a command line to a checked, plain dict; never imports torch
    launching/    which devices there are; the processes that train; signals
    tracking/     the run's directory and record, TensorBoard, the card at the end
    callbacks/    what watches a training
    data/         data sets as tensors on the device, cut into chunks of batches
    model/        networks, the LightningModule that trains them, schedules

Dependencies point downwards. data/ and model/ know nothing of Hydra, of run directories or of the command line.
"""
