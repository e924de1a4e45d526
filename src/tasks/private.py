"""Differentially private training: a classifier trained by DP-SGD."""

import secrets
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from src.bounds import Bounds, OpenFraction, Positive
from src.data.chunks import PoissonLoader
from src.data.module import TensorData
from src.errors import ConfigError, UserError
from src.randomness import gaussian_noise, seed_step
from src.tasks.base import MakeOptimizer, MakeSchedule, with_single_labels
from src.tasks.classification import Classifier, MetricName

if TYPE_CHECKING:
    from opacus.accountants import PRVAccountant
    from opacus.grad_sample import GradSampleHooksFastGradientClipping

# An epsilon above this protects nothing, and the memory of the accountant grows with it.
_MAX_EPSILON = 50.0
# Noise, sampling probability and number of equal steps, as Opacus's accountants count them.
Steps = tuple[float, float, int]
_KEY = "privacy"  # of the accountant in a checkpoint


class PrivateClassifier(Classifier):
    """Trains a network by DP-SGD, so that its weights are (epsilon, delta)-differentially private with respect to single samples.

    A step draws each training sample with probability q = batch_size / n (Poisson sampling), clips the gradient of each drawn
    sample to the norm C = ``max_gradient_norm``, adds Gaussian noise of standard deviation ``noise * C`` to the sum, and divides
    it by ``batch_size`` (Abadi et al. 2016, https://arxiv.org/abs/1607.00133). Opacus computes the norms without storing a
    gradient for each sample, and its PRV accountant the spent epsilon (Gopi et al. 2021, https://arxiv.org/abs/2106.02848).

    Logs ``privacy/epsilon``, spent since the start of the training, and ``privacy/noise``, besides the metrics of ``Classifier``.
    Private are the weights only: not training and validation metrics, nor figures of samples.

    Args:
        net: see ``Classifier``; the output for a sample must not depend on the other samples of the batch.
        classes: see ``Classifier``.
        optimizer: see ``Classifier``.
        schedule: see ``Classifier``.

    Raises:
        ConfigError: both or neither of epsilon and noise are set, or the network has batch normalisation.
    """

    from_data: ClassVar[tuple[str, ...]] = ("classes",)
    requires: ClassVar[str] = "opacus"

    def __init__(
        self,
        *,
        net: nn.Module,
        classes: int,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        epsilon: Annotated[
            Annotated[float, Bounds(gt=0, le=_MAX_EPSILON)] | None,
            "spent at the end of the training, for which the noise is computed; null: noise is set instead",
        ] = 3.0,
        delta: Annotated[
            OpenFraction, "probability with which epsilon may be exceeded; below 1 / training samples"
        ] = 1e-5,
        noise: Annotated[Positive | None, "standard deviation of the noise, as a multiple of max_gradient_norm"] = None,
        max_gradient_norm: Annotated[Positive, "2-norm to which the gradient of each sample is clipped"] = 1.0,
        randomness: Annotated[
            Literal["seed", "system"],
            "seed: noise and batches follow from the seed, private while it is secret; system: not reproducible",
        ] = "seed",
        metrics: Annotated[Sequence[MetricName], "metrics of validation and test besides the loss"] = ("acc",),
    ) -> None:
        if (epsilon is None) == (noise is None):
            raise ConfigError(
                f"task.epsilon={_word(epsilon)} and task.noise={_word(noise)}: set one of them, and the other to null."
            )
        if any(isinstance(module, _BatchNorm) for module in net.modules()):
            raise ConfigError(
                "task=private: batch normalisation makes the output for a sample depend on the others, so that no gradient belongs "
                "to one sample: use layer or group normalisation (model.norm=layer)."
            )
        super().__init__(net=net, classes=classes, optimizer=optimizer, schedule=schedule, metrics=metrics)
        self.epsilon, self.delta, self.noise = epsilon, delta, noise
        self.max_gradient_norm, self.randomness = max_gradient_norm, randomness
        self._history: list[Steps] = []

    @staticmethod
    def outputs(data: pl.LightningDataModule, settings: Mapping[str, Any]) -> int:
        """The number of logits for a data module.

        Raises:
            ConfigError: it is not a data set in memory with one class for each sample.
        """
        return int(with_single_labels(data, "private").classes)

    def setup(self, stage: str) -> None:
        """Switch the training data to Poisson sampling.

        Raises:
            ConfigError: an argument of the Trainer, the batch size or delta is incompatible.
        """
        super().setup(stage)
        if stage != "fit":
            return
        data: TensorData = self.trainer.datamodule  # type: ignore[attr-defined]
        samples = len(data.train_set[1])
        if self.trainer.accumulate_grad_batches != 1:
            raise ConfigError(
                f"trainer.accumulate_grad_batches={self.trainer.accumulate_grad_batches}: task=private adds noise to every batch: "
                "set a larger data.batch_size instead."
            )
        if self.trainer.precision not in ("32-true", "64-true"):
            raise ConfigError(
                f"trainer.precision={self.trainer.precision} rounds the gradient norms by which task=private clips: set "
                "trainer.precision=32-true."
            )
        if data.batch_size > samples:
            raise ConfigError(
                f"data.batch_size={data.batch_size} must be at most the {samples:,} training samples, of which task=private draws "
                "that many on average."
            )
        if self.delta * samples >= 1:
            raise ConfigError(
                f"task.delta={self.delta:g} must be below 1 / {samples:,}, the number of training samples: otherwise publishing a "
                "few of them would count as private."
            )
        # All ranks draw the same; the system's randomness is never saved, so that no file reveals the noise.
        drawn = data.seed if self.randomness == "seed" else secrets.randbits(128)
        self._key: int = self.trainer.strategy.broadcast(drawn)
        data.loaders["train"] = PoissonLoader(
            *data.train_set,
            key=self._key,
            batch_size=data.batch_size,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        self._probability = data.batch_size / samples

    def on_train_start(self) -> None:
        """Compute the noise for the planned number of steps, and check that the gradient norms are those of single samples.

        Raises:
            ConfigError: no noise reaches epsilon, the noise is too small to protect anything, the network is unsupported, or a
                metric of the training is monitored.
        """
        super().on_train_start()
        self._check_monitors()
        steps = self._planned_steps()
        if self._history:  # resumed
            self.noise = self._history[-1][0]
        if self.noise is None:
            self.noise = self.trainer.strategy.broadcast(self._calibrated(steps))
        elif self.epsilon is None and (bound := self._bound(steps)) > _MAX_EPSILON:
            raise ConfigError(
                f"task.noise={self.noise:g} spends an epsilon of about {bound:.0f} in {steps:,} steps, and one above "
                f"{_MAX_EPSILON:.0f} protects nothing: set a larger one."
            )
        self._hooks = self._attached()
        self._clipped = self._trained()
        self._check_samples_apart()

    def _check_monitors(self) -> None:
        """Refuse what would select weights or learning rates by metrics of the training samples, which have no noise."""
        uses = [(type(one).__name__, one) for one in self.trainer.callbacks if _selects(one)]  # type: ignore[attr-defined]
        uses += [("schedule", one.scheduler) for one in self.trainer.lr_scheduler_configs]
        for name, one in uses:
            metric = getattr(one, "monitor", None)
            if metric is not None and metric.startswith("train"):
                raise ConfigError(
                    f"{name} monitors {metric}, which is computed from the training samples without noise, and task=private would "
                    "guarantee nothing: monitor a metric of public validation samples, or choose another schedule and monitor=null."
                )

    def _planned_steps(self) -> int:
        """Optimizer steps of the whole training."""
        assert self.trainer.max_epochs is not None
        steps = int(self.trainer.num_training_batches) * self.trainer.max_epochs
        return min(steps, self.trainer.max_steps) if self.trainer.max_steps > 0 else steps

    def _calibrated(self, steps: int) -> float:
        from opacus.accountants.utils import get_noise_multiplier

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return get_noise_multiplier(
                    target_epsilon=self.epsilon,
                    target_delta=self.delta,
                    sample_rate=self._probability,
                    steps=steps,
                    accountant="prv",
                )
        except ValueError as error:
            raise ConfigError(
                f"task.epsilon={self.epsilon}: no noise reaches it in {steps:,} steps at delta {self.delta:g} ({error}): set a larger "
                "one, or fewer epochs."
            ) from error

    def _bound(self, steps: int) -> float:
        """A rough upper bound of the epsilon of the whole training, which is fast for any noise."""
        from opacus.accountants import RDPAccountant

        accountant = RDPAccountant()
        accountant.history = [(self.noise, self._probability, steps)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a wider range of orders would yield a lower bound
            return float(accountant.get_epsilon(self.delta))

    def spent(self) -> float:
        """The epsilon spent by the steps so far, an upper bound at ``delta``."""
        return _spent(tuple(self._history), self.delta)

    def _attached(self) -> "GradSampleHooksFastGradientClipping":
        """Opacus's hooks, which compute the gradient norms of single samples during backpropagation."""
        from opacus.grad_sample import GradSampleHooksFastGradientClipping
        from opacus.validators import ModuleValidator

        problems: Sequence[object] = ModuleValidator.validate(self.net)
        try:
            hooks = GradSampleHooksFastGradientClipping(
                self.net, loss_reduction="sum", max_grad_norm=self.max_gradient_norm
            )
        except NotImplementedError as error:
            problems = [*problems, error]
        if problems:
            raise ConfigError(f"task=private: {' '.join(' '.join(str(one).split()) for one in problems)}")
        hooks.disable_hooks()
        # They do with every batch, since samples need no gradient.
        warnings.filterwarnings("ignore", "Full backward hook is firing when gradients are computed")
        return hooks

    def _check_samples_apart(self) -> None:
        """Check on two samples that the output for one does not depend on the other, and the norms of their gradients."""
        data: TensorData = self.trainer.datamodule  # type: ignore[attr-defined]
        inputs, targets = (tensor[:2] for tensor in data.train_set)
        inputs = data.normalize(inputs, self.dtype)
        with torch.no_grad():
            seed_step(0, self.device)  # for the same dropout
            output = self(inputs)[0]
            seed_step(0, self.device)
            other = self(inputs[:1].expand_as(inputs))[0]  # the same first sample, another second one
        if not torch.allclose(output, other, rtol=1e-3, atol=1e-6):
            raise ConfigError(
                f"task=private: the output of {type(self.net).__name__} for a sample depends on the other samples of the batch, so that "
                "no gradient belongs to one sample: choose a network without such layers."
            )
        parameters = self._trained()
        try:
            self._hooks.enable_hooks()
            losses = self.loss(self(inputs), targets, reduction="none")
            found = self._norms(losses)
            self._hooks.disable_hooks()
            gradients = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            raise ConfigError(
                f"task=private: Opacus cannot compute the gradients of single samples in {type(self.net).__name__}: "
                f"{' '.join(str(error).split())}"
            ) from error
        finally:
            self._hooks.disable_hooks()
        expected = torch.stack([nn.utils.get_total_norm(one) for one in gradients])
        if not torch.allclose(found, expected, rtol=1e-3, atol=1e-6):
            raise ConfigError(
                f"task=private: the gradient norms of two samples in {type(self.net).__name__} are {_listed(expected)}, and Opacus "
                f"computes {_listed(found)}: every parameter must be used by the layer that it belongs to, once."
            )

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.net.parameters() if parameter.requires_grad]

    def _norms(self, losses: Tensor) -> Tensor:
        """The gradient norm of each sample, (n,), by an additional backward pass."""
        torch.autograd.grad(losses.sum(), self._trained(), retain_graph=True)  # calls the hooks, but none of DDP
        return self._hooks.get_norm_sample().detach()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Any]:
        """Compute the loss of this rank's part of a batch, of which there may be none.

        Returns:
            ``loss``, whose gradient, averaged over the ranks, is the sum of the clipped gradients of all samples divided by the
            expected batch size; ``train/loss`` and ``train/acc``, means over the samples drawn.

        Raises:
            NonFiniteLoss: the loss is NaN or Inf.
            UserError: a callback has frozen or unfrozen parameters.
        """
        inputs, targets = batch
        if list(map(id, self._trained())) != list(map(id, self._clipped)):
            raise UserError(
                "task=private: a callback changed which parameters are trained, and Opacus clips those of the start: leave it out, or "
                "set freeze."
            )
        if len(targets):
            self._hooks.enable_hooks()
            outputs = self(inputs)
            losses = self.loss(outputs, targets, reduction="none")
            factors = (self.max_gradient_norm / self._norms(losses)).clamp(max=1)
            self._hooks.disable_hooks()
            loss = (factors * losses).sum()
        else:
            outputs, losses = inputs.new_empty(0, self.num_outputs), inputs.new_empty(0)
            loss = sum((parameter.sum() for parameter in self._trained()), inputs.new_zeros(())) * 0
        count = torch.tensor(len(targets), device=loss.device)
        loss_sum, samples, correct = self.sum_over_ranks(
            losses.sum().unsqueeze(0), count, self.train_sums(outputs, targets)["acc"]
        )
        if batch_idx == 0:
            for mean in self.train_means.values():
                mean.reset()  # type: ignore[operator]
        metrics: dict[str, float] = {}
        if samples:
            metrics = self.update_train_metrics(
                self.global_step, [loss_sum / samples], [samples], {"acc": correct}, samples, reset=False
            )
        data: TensorData = self.trainer.datamodule  # type: ignore[attr-defined]
        return {"loss": loss * (self.trainer.world_size / data.batch_size), **metrics}

    def on_after_backward(self) -> None:
        """Add the noise to the gradient, the same on every rank, and count the step."""
        assert self.noise is not None
        parameters = self._trained()
        data: TensorData = self.trainer.datamodule  # type: ignore[attr-defined]
        scale = self.noise * self.max_gradient_norm / data.batch_size
        steps = sum(count for *_, count in self._history)
        drawn = gaussian_noise(self._key, steps, sum(parameter.numel() for parameter in parameters))
        for parameter, noise in zip(parameters, drawn.split([one.numel() for one in parameters]), strict=True):
            assert parameter.grad is not None
            parameter.grad.add_((scale * noise).view_as(parameter).to(parameter))
        accountant = _accountant(self._history)
        accountant.step(noise_multiplier=self.noise, sample_rate=self._probability)
        self._history = accountant.history

    def on_train_epoch_end(self) -> None:
        """Log the spent epsilon and the noise."""
        super().on_train_epoch_end()
        for name, value in self.weight_metrics().items():
            self.log(name, value, sync_dist=True)  # equal on all ranks

    def weight_metrics(self) -> dict[str, float]:
        """Metrics of the present weights, which the record states whenever they are saved."""
        return {"privacy/epsilon": self.spent(), "privacy/noise": self.noise or 0.0}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the steps that the accountant has counted."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[_KEY] = [list(one) for one in self._history]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the steps that the accountant has counted."""
        super().on_load_checkpoint(checkpoint)
        self._history = [(noise, probability, steps) for noise, probability, steps in checkpoint[_KEY]]

    def on_train_end(self) -> None:
        """Remove Opacus's hooks from the network."""
        self._hooks.cleanup()


def _selects(callback: pl.Callback) -> bool:
    return isinstance(callback, pl.callbacks.Checkpoint | pl.callbacks.EarlyStopping)


def _accountant(history: Iterable[Steps]) -> "PRVAccountant":
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = list(history)
    return accountant


@lru_cache(maxsize=64)  # takes 0.1 s or more
def _spent(history: tuple[Steps, ...], delta: float) -> float:
    if not history:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, where a probability is 1
        return float(_accountant(history).get_epsilon(delta))


def _word(value: float | None) -> str:
    return "null" if value is None else f"{value:g}"


def _listed(values: Tensor) -> str:
    return " and ".join(f"{value:.4g}" for value in values.tolist())
