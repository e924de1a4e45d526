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

from src.config.check import check
from src.errors import ConfigError, UserError, suggest
from src.tracking.find import find
from src.tracking.record import Record

_CHOICES = {"checkpoint": ("best", "last"), "split": ("test", "val")}


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m src.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="checkpoint=best|last, split=test|val")
    args = parser.parse_args(argv)
    try:
        settings = _settings(args.settings)
        record = find(args.run)
        metrics = evaluate(record, **settings)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    print(f"{record.values['id']} ({settings['checkpoint']} weights)")
    for name, value in metrics.items():
        print(f"  {name:<10} {value:.4f}")
    return 0


def _settings(words: list[str]) -> dict[str, str]:
    settings = {name: choices[0] for name, choices in _CHOICES.items()}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word}: a setting is key=value, as in checkpoint=last.")
        if key not in _CHOICES:
            raise ConfigError(
                f"{word}: there is no such setting{suggest(key, _CHOICES)} (there are {', '.join(_CHOICES)})"
            )
        if value not in _CHOICES[key]:
            raise ConfigError(f"{word}: {key} must be {' or '.join(_CHOICES[key])}{suggest(value, _CHOICES[key])}")
        settings[key] = value
    return settings


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
    from src.model.classifier import Classifier
    from src.targets import build
    from src.tracking.checkpoints import load

    try:
        config = check(record.values["config"])
    except ConfigError as error:
        raise UserError(f"{record.values['id']} was configured for another version of this project: {error}") from error
    if record.status == "running":
        raise UserError(f"{record.values['id']} is still running: its weights can be measured when it has ended.")
    if split == "val" and not config["data"].get("val_size"):
        raise UserError(
            f"{record.values['id']} held no samples out (data.val_size=0): there is nothing to validate on."
        )
    path = record.directory / "checkpoints" / f"{checkpoint}.ckpt"
    load(path)  # says what is wrong with a missing, damaged or foreign file
    try:
        model = Classifier.load_from_checkpoint(path)
    except Exception as error:  # plain data, but of what shape is anybody's guess
        raise UserError(f"{path} is not a checkpoint of this project ({type(error).__name__}: {error}).") from error
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
