"""Measure a run's weights again.

    python -m src.evaluate latest                       the latest finished run, its best weights, on the test set
    python -m src.evaluate RUN checkpoint=last          the weights at the end instead
    python -m src.evaluate RUN split=val                on the samples held out of the training set

RUN is an id, a unique beginning of one, a name, a directory, latest or best. Nothing of the run is changed; the result
is added to its record.
"""

import argparse
import sys
from datetime import UTC, datetime

from src.command import settings_in, status_of
from src.errors import UserError
from src.tracking.find import find
from src.tracking.record import Record
from src.tracking.weights import trained

_CHOICES = {"checkpoint": ("best", "last"), "split": ("test", "val")}


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m src.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="checkpoint=best|last, split=test|val")
    args = parser.parse_args(argv)
    return status_of(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    settings = settings_in(args.settings, _CHOICES)
    record = find(args.run)
    metrics = evaluate(record, **settings)
    print(f"{record.values['id']} ({settings['checkpoint']} weights)")
    for name, value in metrics.items():
        print(f"  {name:<10} {value:.4f}")


def evaluate(record: Record, checkpoint: str = "best", split: str = "test") -> dict[str, float]:
    """Measure the weights of a run and add the result to its record.

    Args:
        record: the run.
        checkpoint: best or last.
        split: test, or val for the held-out samples.

    Returns:
        ``test/loss`` and ``test/acc``, or their ``val`` twins.

    Raises:
        UserError: the run has no such checkpoint, or no held-out samples.
    """
    from src.fit import make_trainer
    from src.targets import build

    model, config = trained(record, checkpoint)
    if split == "val" and not config["data"].get("val_size"):
        raise UserError(
            f"{record.values['id']} held no samples out (data.val_size=0): there is nothing to validate on."
        )
    data = build(config["data"], "data", seed=config["seed"])
    one_device = {**config, "trainer": {**config["trainer"], "accelerator": "auto", "devices": 1, "num_nodes": 1}}
    trainer = make_trainer(one_device, callbacks=[], logger=False)
    run = trainer.test if split == "test" else trainer.validate
    [metrics] = run(model, datamodule=data, verbose=False)
    entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "checkpoint": checkpoint, "metrics": metrics}
    record.change(lambda run: {"evaluations": [*run.get("evaluations", []), entry]})
    return dict(metrics)


if __name__ == "__main__":
    sys.exit(main())
