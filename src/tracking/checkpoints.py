"""Checkpoint files: plain data, whole or not at all."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from src.errors import UserError


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs, renames: the file before it stays until the new one is whole.

    Reads tensors, numbers, strings and containers of them; anything else in a file is refused, not run.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            UserError: the disk is full or cannot be written; what was there before is untouched.
        """
        target = Path(path)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        # Through memory, because torch reports a full disk as an internal error of its own.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except OSError as error:
            raise UserError(
                f"{target} cannot be written ({error.strerror}): free some space; the checkpoint before it is untouched."
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: Any = True) -> dict[str, Any]:
        """Read a checkpoint; plain data only, whatever ``weights_only`` says."""
        return load(Path(path), map_location)


def load(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint file.

    Raises:
        UserError: there is no such file, or it is damaged, or holds more than plain data.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: there is no such checkpoint.")
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise UserError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged or foreign."
        ) from error
