"""Training from Python: ``from src.api import train``.

    record = train(["optimizer=sgd", "optimizer.lr=0.1"])
    record = train(["trainer.max_epochs=3"], task=MyModule(), data=MyData())

To read records use ``src.runs``: ``to_frame``, ``load`` and ``model``.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.command_line import parse
from src.config.compose import make_plan
from src.errors import ConfigError, Interrupted, UserError
from src.masking import conceal_words
from src.paths import ROOT, runs_dir, shown
from src.records.find import check_name, find_to_resume
from src.records.git import git
from src.records.record import Record, claim
from src.records.sweep import Sweep, find_sweep
from src.sweeps.jobs import callbacks_of_trial
from src.training.resume import changed, split_resume
from src.training.run import begin, check_machine, go_on

if TYPE_CHECKING:
    import lightning.pytorch as pl

# Placeholders for objects in the configuration.
_STAND_INS = {"task": "src.tasks.given.GivenTask", "data": "src.data.given.GivenData"}
# Held while this process trains, since all trainings share its random number generators.
_ONE_AT_A_TIME = threading.Lock()


def train(
    overrides: Sequence[str] = (),
    *,
    task: "pl.LightningModule | None" = None,
    data: "pl.LightningDataModule | None" = None,
) -> Record | Sweep:
    """Train from Python: in a script, a notebook or a thread, any number of times.

    Runs on a single device train in this process; several devices, ``-m`` and ``trainer.max_minutes`` train in new processes.
    Calls from several threads train one after the other. Ctrl-C saves a checkpoint, as on the command line.

    Args:
        overrides: command line arguments, as in ``["optimizer=sgd", "seed=1"]``.
        task: a LightningModule to train in place of the configured one, on one device. The run cannot be evaluated, resumed or
            reproduced, since no configuration describes it.
        data: a LightningDataModule in place of the configured one, with the same restrictions.

    Returns:
        The record of the run, whose status says how it ended; with ``-m`` the record of the sweep.

    Raises:
        ConfigError: the overrides are invalid, or cannot be combined with ``task`` and ``data``.
        UserError: the run cannot be resumed.
        KeyboardInterrupt: Ctrl-C; the state of the training is saved.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"the words must be a list, as in train([{overrides!r}]).")
    objects: dict[str, Any] = {key: value for key, value in (("task", task), ("data", data)) if value is not None}
    _check_kinds(objects)
    line = parse(conceal_words([*overrides, *_stand_ins(objects, overrides)]))
    word, changes = split_resume(line)
    if line.asks:
        raise ConfigError(f"{' '.join(line.flags)}: train() trains; leave it out.")
    if line.multirun:
        if objects:
            raise ConfigError(
                "-m needs a configuration: name the class of an object by task._target_ or data._target_."
            )
        return find_sweep(str(_in_a_new_process([*line.flags, *line.overrides])))
    if word is not None:
        record = find_to_resume(word)
        config, directory = changed(record, changes), record.directory
        if config is None:
            return record
        check_machine([{**config, "init_from": None}])  # its checkpoint has the weights
        run = partial(go_on, directory, config, changes, callbacks_of_trial(directory, config))
    else:
        plan = make_plan(line)
        [composed] = plan.composed
        config = composed.config
        check_name(config["name"])
        check_machine([config], objects=objects)
    trainer = config["trainer"]
    if trainer["devices"] != 1 or trainer["max_minutes"] is not None:
        if objects:
            raise ConfigError(
                "an object is trained in this process, on one device: set trainer.devices=1, without max_minutes."
            )
        return Record.load(_in_a_new_process([*line.flags, *line.overrides]))
    with _ONE_AT_A_TIME:
        if word is None:
            directory = claim(runs_dir(), "r")
            composed.save(directory)
            run = partial(begin, directory, config, **composed.source, code=git(), objects=objects)
        try:
            return run()
        except Interrupted as stop:
            raise KeyboardInterrupt(f"{shown(directory)} can be resumed") from stop


def _check_kinds(objects: Mapping[str, Any]) -> None:
    """Check the types of the objects passed to ``train``.

    Raises:
        ConfigError: the task is not a LightningModule, or the data not a LightningDataModule; or one is a class.
    """
    if not objects:
        return
    import lightning.pytorch as pl

    kinds = {"task": pl.LightningModule, "data": pl.LightningDataModule}
    for group, value in objects.items():
        if not isinstance(value, kinds[group]):
            found = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
            raise ConfigError(f"{group} must be a {kinds[group].__name__}, and is {found}.")


def _stand_ins(objects: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    """Overrides that select the placeholders for objects in a configuration.

    Raises:
        ConfigError: the overrides also configure a group that is passed as an object.
    """
    words: list[str] = []
    for group, given in objects.items():
        if wrong := next(
            (word for word in overrides if word.lstrip("+~").startswith((f"{group}=", f"{group}."))), None
        ):
            raise ConfigError(f"{wrong}: the {group} is an object, which has its settings: leave the word out.")
        name = f"{type(given).__module__}.{type(given).__qualname__}".replace("<locals>", "")
        words += [f"{group}=custom", f"{group}._target_={_STAND_INS[group]}", f"+{group}.name='{name}'"]
    if "task" in objects and "data" not in objects and not any(word.startswith("data") for word in overrides):
        words.append("data=none")
    return words


def _in_a_new_process(words: list[str]) -> Path:
    """Run a command line in a new process, pass on its output, and return the directory of its record.

    Raises:
        UserError: nothing was trained; the message is the one the process printed.
    """
    read, written = os.pipe()
    code = "import os, sys; from src.train import main; sys.exit(main(sys.argv[2:], report=int(sys.argv[1])))"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [sys.executable, "-c", code, str(written), *words],
        pass_fds=[written],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        os.close(written)
        assert process.stdout is not None
        for printed in process.stdout:
            print(printed, end="")
            last = printed
    with os.fdopen(read) as file:
        directory = file.read()
    if not directory:
        raise UserError(last.strip().removeprefix("error: "))
    return Path(directory)
