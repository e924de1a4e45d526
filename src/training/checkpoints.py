"""Checkpoint files: plain data, written atomically."""

import contextlib
import io
import logging
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from torch.nn.parameter import is_lazy

from src.errors import UserError
from src.files import replacing

log = logging.getLogger(__name__)
FOLDER = "checkpoints"
BEST, LAST = "best.ckpt", "last.ckpt"
# The previous last.ckpt, in case the newest one is damaged.
PREVIOUS = "previous.ckpt"
# A checkpoint of this name is validated and not written.
_TRIAL = "trial.ckpt"
_HYPERPARAMETERS = (
    pl.LightningModule.CHECKPOINT_HYPER_PARAMS_KEY,
    pl.LightningDataModule.CHECKPOINT_HYPER_PARAMS_KEY,
)


class DurableCheckpointIO(TorchCheckpointIO):
    """Checkpoint plugin that writes atomically: to a temporary file in the same directory, synced and then renamed.

    The previous file remains until the new one is complete. Files may contain tensors, numbers, strings and containers of
    them; anything else is rejected without executing code.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; an existing last.ckpt becomes previous.ckpt.

        Raises:
            UserError: the disk is full or not writable, and the existing files are unchanged; or, in a trial save, a value in
                the checkpoint is not plain data.
        """
        target = Path(path)
        # The arguments of save_hyperparameters() may be objects; the checkpoint contains the configuration that built them.
        for key in _HYPERPARAMETERS:
            if key in checkpoint:
                checkpoint[key] = {name: value for name, value in checkpoint[key].items() if _is_plain(value)}
        if target.name == _TRIAL:
            # The parameters of lazy layers have no values before the first batch.
            state = {key: value for key, value in checkpoint.get("state_dict", {}).items() if not is_lazy(value)}
            _check_plain({**checkpoint, "state_dict": state})
            return
        # Serialized in memory first, because torch reports a full disk as an internal error.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as file:
                file.write(buffer.getbuffer())
                if target.name == LAST and target.exists():
                    _keep(target, target.with_name(PREVIOUS))
        except OSError as error:
            raise UserError(
                f"{target} cannot be written ({error.strerror}): free some space; the checkpoint before it is untouched."
            ) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: Any = True) -> dict[str, Any]:
        """Read a checkpoint of plain data, regardless of ``weights_only``."""
        return _at_home(load(Path(path), map_location), Path(path).parent)


def _is_plain(value: Any) -> bool:
    """Whether a value can be read from a checkpoint: tensors, numbers, strings, and containers of them."""
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        buffer.seek(0)
        torch.load(buffer, map_location="meta", weights_only=True)
    except Exception:  # pickling an object may raise anything
        return False
    return True


def _check_plain(checkpoint: dict[str, Any]) -> None:
    """Check that a checkpoint can be read back.

    Raises:
        UserError: a value is not plain data.
    """
    if _is_plain(checkpoint):
        return
    path, value = "checkpoint", checkpoint
    while isinstance(value, dict | list | tuple):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        wrong = next(((key, one) for key, one in entries if not _is_plain(one)), None)
        if wrong is None:
            break
        path, value = f"{path}[{wrong[0]!r}]", wrong[1]
    raise UserError(
        f"{path} is a {type(value).__module__}.{type(value).__qualname__}: a checkpoint may contain tensors, numbers, strings, "
        "and lists and dictionaries of them only, since reading anything else could run code: convert it in "
        "on_save_checkpoint() or state_dict()."
    )


class TrialSave(pl.Callback):
    """Trial save before the first step: checks that a checkpoint could be saved and read back, without writing one.

    Args:
        own: checkpoint keys reserved for the program.
    """

    def __init__(self, own: Sequence[str] = ()) -> None:
        self.own = own
        self._trials: list[tuple[dict[str, Any], dict[str, Any]]] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the contents of a checkpoint.

        Raises:
            UserError: a value is not plain data, or the module has replaced a reserved key.
        """
        if trainer.checkpoint_callback is None:
            return
        self._trials = []
        trainer.save_checkpoint(Path(trainer.default_root_dir, _TRIAL))
        [(checkpoint, before)], self._trials = self._trials, None
        if replaced := [key for key, value in before.items() if checkpoint.get(key) is not value]:
            raise UserError(
                f"checkpoint[{replaced[0]!r}] is the program's, and {type(pl_module).__name__} or its data module replaces it "
                "in on_save_checkpoint(): use another key there."
            )

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """In a trial save, keep the entries so far; the module's hook is called after this one."""
        if self._trials is not None:
            self._trials.append((checkpoint, {key: checkpoint[key] for key in self.own if key in checkpoint}))


def _keep(path: Path, name: Path) -> None:
    """Hard-link a file, so that it survives the replacement of the original."""
    link = name.with_name(f".{name.name}.{os.getpid()}.part")
    with contextlib.suppress(OSError):  # a file system without links keeps no previous checkpoint
        os.link(path, link)
        os.replace(link, name)


def _at_home(checkpoint: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Update the paths in the checkpoint callbacks' states, or a run that was moved would lose its best checkpoint."""
    for state in checkpoint.get("callbacks", {}).values():
        if isinstance(state, dict) and (before := state.get("dirpath")) and before != str(folder):

            def moved(path: str, before: str = before) -> str:
                return str(folder / os.path.relpath(path, before)) if path else path

            state["dirpath"] = str(folder)
            state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}
            for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state[key] = moved(state[key])
    return checkpoint


def load(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint file.

    Raises:
        UserError: there is no such file, or it is damaged, or contains other than plain data.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: there is no such checkpoint.")
    if not is_whole(path):
        raise UserError(f"{path} cannot be read as a checkpoint: it is damaged or foreign.")
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises a dozen exception types for unknown content
        raise UserError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged or foreign."
        ) from error


def newest(folder: Path) -> Path | None:
    """The newest intact checkpoint: last.ckpt, or previous.ckpt if the last is damaged; None if there is neither.

    Raises:
        UserError: all existing checkpoints are damaged.
    """
    damaged: list[str] = []
    for path in (folder / name for name in (LAST, PREVIOUS, BEST) if (folder / name).exists()):
        if is_whole(path):
            if damaged:
                log.warning("%s is damaged: resuming from %s, the one before it", " and ".join(damaged), path.name)
            return path
        damaged.append(path.name)
    if damaged:
        raise UserError(f"{folder}: {' and '.join(damaged)} cannot be read, and there is no other checkpoint.")
    return None


def is_whole(path: Path) -> bool:
    """Whether a file exists and matches its checksums, which torch itself does not verify."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        return False
