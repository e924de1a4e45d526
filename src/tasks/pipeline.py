"""A trained classifier together with the preprocessing of its inputs."""

import torch
from torch import Tensor, nn

from src.data.normalize import Normalize
from src.tasks.classification import Classifier
from src.tasks.losses import Loss


class Pipeline(nn.Module):
    """Maps raw samples ``(n, *input_shape)`` to logits ``(n, outputs)``.

    Args:
        normalize: the normalisation of the data set.
        classifier: its inputs are normalised samples.
    """

    def __init__(self, normalize: Normalize, classifier: Classifier) -> None:
        super().__init__()
        self.normalize, self.classifier = normalize, classifier

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point dtype of the network."""
        return next(self.classifier.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.classifier.device

    def forward(self, raw: Tensor) -> Tensor:
        """Normalise and classify."""
        return self.classifier(self.normalize(raw, self.dtype))

    @property
    def loss(self) -> Loss:
        """The loss with which the network was trained."""
        return self.classifier.loss
