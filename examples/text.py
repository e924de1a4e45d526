"""Classification of sequences of tokens, padded batch by batch: python -m src.train experiment=example_text"""

from collections.abc import Callable

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, random_split
from torchmetrics import MaxMetric, MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryF1Score

Batch = tuple[Tensor, Tensor, Tensor]


def pad(samples: list[tuple[Tensor, int]]) -> Batch:
    """Make a batch: tokens (n, longest), lengths (n,), labels (n,)."""
    tokens, labels = zip(*samples, strict=True)
    lengths = torch.tensor([len(one) for one in tokens])
    return pad_sequence(tokens, batch_first=True), lengths, torch.tensor(labels)


class Corpus(pl.LightningDataModule):
    """Generated sentences, labelled 1 if the token 1 occurs more often than the token 2; 0 is the padding."""

    def __init__(self, size: int = 4000, vocabulary: int = 8, batch_size: int = 32) -> None:
        super().__init__()
        self.size, self.vocabulary, self.batch_size = size, vocabulary, batch_size

    def setup(self, stage: str) -> None:
        """Generate the same sentences for every training."""
        random = torch.Generator().manual_seed(0)
        lengths = torch.randint(3, 13, (self.size,), generator=random).tolist()
        sentences = [torch.randint(1, self.vocabulary, (length,), generator=random) for length in lengths]
        samples = [(one, int((one == 1).sum() > (one == 2).sum())) for one in sentences]
        self.train_set, self.val_set = random_split(samples, [0.8, 0.2], random)

    def train_dataloader(self) -> DataLoader:
        """Shuffled sentences."""
        return DataLoader(self.train_set, self.batch_size, shuffle=True, collate_fn=pad)

    def val_dataloader(self) -> DataLoader:
        """The held-out sentences."""
        return DataLoader(self.val_set, 256, collate_fn=pad)


class GRUClassifier(nn.Module):
    """An embedding, a GRU over the tokens that are not padding, and a linear layer."""

    def __init__(self, vocabulary: int = 8, hidden: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden, padding_idx=0)
        self.dropout, self.gru, self.head = nn.Dropout(dropout), nn.GRU(hidden, hidden), nn.Linear(hidden, 1)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Map tokens (n, longest) to logits (n,)."""
        inputs = self.dropout(self.embedding(tokens))
        _, last = self.gru(pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False))
        return self.head(last[-1]).squeeze(1)


class TextClassifier(pl.LightningModule):
    """Trains a network with an optimizer and a scheduler that are passed to the constructor."""

    def __init__(self, net: nn.Module, optimizer: Callable, scheduler: Callable) -> None:
        super().__init__()
        self.net, self.optimizer, self.scheduler = net, optimizer, scheduler
        metrics = MetricCollection({"acc": BinaryAccuracy(), "f1": BinaryF1Score()})
        self.train_metrics, self.val_metrics = metrics.clone("train/"), metrics.clone("val/")
        self.best_acc = MaxMetric()

    def _step(self, batch: Batch, stage: str, metrics: MetricCollection) -> Tensor:
        tokens, lengths, labels = batch
        logits = self.net(tokens, lengths)
        loss = F.binary_cross_entropy_with_logits(logits, labels.float())
        metrics.update(logits, labels)
        self.log(f"{stage}/loss", loss, batch_size=len(labels), on_step=False, on_epoch=True)
        self.log_dict(metrics, on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The cross-entropy of a batch."""
        return self._step(batch, "train", self.train_metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log ``val/loss``, ``val/acc`` and ``val/f1``."""
        self._step(batch, "val", self.val_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log the highest accuracy so far."""
        self.best_acc(self.val_metrics["acc"].compute())
        self.log("val/acc_best", self.best_acc.compute())

    def configure_optimizers(self) -> dict:
        """As modules of lightning-hydra-template do."""
        optimizer = self.optimizer(params=self.parameters())
        schedule = {"scheduler": self.scheduler(optimizer=optimizer), "monitor": "val/loss"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}
