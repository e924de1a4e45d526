"""Gradual pruning of weights during training."""

import math
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor, nn
from torch.nn.utils import prune

from src.bounds import NotNegative, OpenFraction, Positive
from src.callbacks.curves import point_is_due
from src.data.module import TensorData
from src.errors import ConfigError
from src.models.mlp import MLP

# Optimizer steps between prunings, as in Zhu & Gupta.
_EVERY_STEPS = 100


class Pruning(pl.Callback):
    """Gradual magnitude pruning: sets a growing fraction of the weights to zero, smallest first; curve ``sparsity``.

    The sparsity rises from 0 at ``start_epoch`` to ``amount`` at ``end_epoch`` by the cubic schedule of Zhu & Gupta 2017
    (https://arxiv.org/abs/1710.01878); if both epochs are equal, pruning takes a single step. torch's pruning methods choose
    the weights, and after each optimizer step those are set to zero again, so checkpoints hold ordinary weights that need
    neither this callback nor torch's reparametrisation. Lightning's ``ModelPruning`` prunes once an epoch, keeps
    ``weight_orig`` and ``weight_mask`` in place of the weights and cannot be resumed within an epoch.

    If a LightningModule has a network as its attribute ``net``, only that network is pruned.

    A network is most accurate before it is pruned, so the best checkpoint and early stopping are reset when ``amount`` is
    reached; an earlier best.ckpt is overwritten at the end of that epoch.

    ``structured`` prunes whole units of the hidden layers of an MLP, those whose incoming weights have the smallest 2-norm in
    their layer, with their bias and outgoing weights; otherwise single weights are pruned globally, over all layers.

    Raises:
        ValueError: pruning would end before it starts.
    """

    accepts_chunks: ClassVar[bool] = True

    def __init__(
        self,
        *,
        amount: Annotated[
            OpenFraction, "final fraction of the weights that are zero; of the units if structured"
        ] = 0.8,
        start_epoch: Annotated[NotNegative, "epochs after which pruning starts"] = 0.0,
        end_epoch: Annotated[Positive, "epochs after which amount is reached; start_epoch: in one step"] = 1.0,
        structured: Annotated[bool, "prune whole units, weakest first, not single weights, smallest first"] = False,
    ) -> None:
        if end_epoch < start_epoch:
            raise ValueError(f"end_epoch={end_epoch:g} must be at least start_epoch={start_epoch:g}.")
        self.amount, self.start_epoch, self.end_epoch = amount, start_epoch, end_epoch
        self.structured = structured
        # Parameter name to its mask: 1 for kept weights, 0 for pruned ones.
        self._masks: dict[str, Tensor] = {}
        self._reached = False

    def state_dict(self) -> dict[str, Any]:
        """The masks, and whether ``amount`` is reached."""
        return {"masks": self._masks, "reached": self._reached}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self._masks, self._reached = dict(state_dict["masks"]), state_dict["reached"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Register the optimizer's step hook.

        Raises:
            ConfigError: ``structured`` is set for a network that is not an MLP or has no hidden layer; or the length of an
                epoch is unknown.
        """
        net = _network(pl_module)
        if self.structured and not (type(net) is MLP and len(_linear(net)) > 1):
            raise ConfigError(
                "callbacks.pruning.structured=true prunes the units of hidden layers, and this network "
                f"({type(net).__name__}) has none that are known: set structured=false."
            )
        self._masks = {name: mask.to(pl_module.device) for name, mask in self._masks.items()}
        steps_per_epoch = _steps_per_epoch(trainer)
        first = round(self.start_epoch * steps_per_epoch)
        last = max(1, round(self.end_epoch * steps_per_epoch))

        def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            step = trainer.global_step + 1  # Lightning increments it after the optimizer's step
            ends = step >= last and not self._reached  # mixed precision may have skipped the last step
            if ends or (first < step < last and step % _EVERY_STEPS == 0):
                share = self.amount if ends else self.amount * (1 - (1 - (step - first) / (last - first)) ** 3)
                self._masks = _units(net, share) if self.structured else _weights(net, share)
            if ends:
                self._reached = True
                _judge_anew(trainer)
            self._keep(net)

        self._listening = trainer.optimizers[0].register_step_post_hook(after)

    @torch.no_grad()
    def _keep(self, net: nn.Module) -> None:
        """Apply the masks."""
        if self._masks:
            pruned: list[Tensor] = [net.get_parameter(name) for name in self._masks]
            masks: list[Tensor] = list(self._masks.values())
            torch._foreach_mul_(pruned, masks)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Log the sparsity, when a point is due."""
        if not point_is_due(trainer, batch_idx):
            return
        value = sparsity(_network(pl_module))
        for logger in trainer.loggers:
            logger.log_metrics({"sparsity": value}, trainer.global_step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the hook."""
        self._listening.remove()


def _network(module: pl.LightningModule) -> nn.Module:
    net = getattr(module, "net", None)
    return net if isinstance(net, nn.Module) else module


def _steps_per_epoch(trainer: pl.Trainer) -> int:
    """Optimizer steps per epoch; on the fast path Lightning counts chunks."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    in_chunks = isinstance(data, TensorData) and data.in_chunks
    batches = data.steps_per_epoch if in_chunks else trainer.num_training_batches
    if batches == math.inf:
        raise ConfigError(
            "callbacks=pruning is planned for epochs of a known length, and the training data has none: set "
            "+trainer.limit_train_batches, or leave it out."
        )
    return math.ceil(batches / trainer.accumulate_grad_batches)


def sparsity(net: nn.Module) -> float:
    """Sparsity: the fraction of a network's weights (without biases) that are zero."""
    weights = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    zero = sum(int((weight == 0).sum()) for weight in weights)
    return zero / sum(weight.numel() for weight in weights)


def _linear(net: nn.Module) -> list[tuple[str, nn.Linear]]:
    return [(name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Linear)]


def _weights(net: nn.Module, share: float) -> dict[str, Tensor]:
    """Masks of all weight matrices that remove the globally smallest weights."""
    matrices = {name: parameter.detach() for name, parameter in net.named_parameters() if parameter.ndim > 1}
    together = torch.cat([matrix.flatten() for matrix in matrices.values()])
    count = round(share * len(together))
    mask = prune.L1Unstructured(count).compute_mask(together, torch.ones_like(together))
    parts = mask.split([matrix.numel() for matrix in matrices.values()])
    # Copied, or a checkpoint would save the storage of all masks with each.
    return {name: part.view_as(matrix).clone() for (name, matrix), part in zip(matrices.items(), parts, strict=True)}


def _units(net: nn.Module, share: float) -> dict[str, Tensor]:
    """Masks of an MLP that remove the weakest units of each hidden layer, but never all units."""
    layers = _linear(net)
    masks = {
        f"{name}.{part}": torch.ones_like(parameter)
        for name, layer in layers
        for part, parameter in layer.named_parameters()
    }
    for (name, layer), (following, _) in pairwise(layers):
        count = min(round(share * layer.out_features), layer.out_features - 1)
        weight = layer.weight.detach()
        rows = prune.LnStructured(count, n=2, dim=0).compute_mask(weight, torch.ones_like(weight))
        kept = rows[:, 0]
        masks[f"{name}.weight"] *= rows
        masks[f"{name}.bias"] *= kept
        masks[f"{following}.weight"] *= kept
    return masks


def _judge_anew(trainer: pl.Trainer) -> None:
    """Reset the best values of checkpoints and early stopping."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, ModelCheckpoint) and callback.monitor:
            callback.best_k_models, callback.kth_best_model_path, callback.best_model_score = {}, "", None
        elif isinstance(callback, EarlyStopping):
            worst = torch.tensor(torch.inf)
            callback.wait_count, callback.best_score = 0, worst if callback.mode == "min" else -worst
