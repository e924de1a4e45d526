"""A convolutional network for ``model=``: python -m src.train experiment=example_cnn"""

from torch import Tensor, nn


class CNN(nn.Module):
    """Two convolutions, each with a pooling, and a linear layer.

    Args:
        outputs: number of logits; the program passes the number of classes.
        channels: of the first convolution; the second has twice as many.
    """

    def __init__(self, outputs: int = 10, channels: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
        )
        self.head = nn.Linear(2 * channels * 16, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Map grey images (n, height, width) to logits (n, outputs)."""
        return self.head(self.features(images.unsqueeze(1)).flatten(1))
