"""Measure a run's weights again.

    python -m src.evaluate latest                       the latest finished run, its best weights, on the test set
    python -m src.evaluate RUN checkpoint=last          the weights at the end instead
    python -m src.evaluate RUN split=val                on the samples held out of the training set
    python -m src.evaluate RUN --robustness             on corrupted and attacked images, too
    python -m src.evaluate RUN --calibrate              fit a temperature on the held-out samples, and measure with it
    python -m src.evaluate RUN --json                   for programs

RUN is an id, a unique beginning of one, a name, a directory, latest or best. Nothing of the run is changed; the result
is added to its record; --robustness and --calibrate leave a picture in TensorBoard besides, in place of an earlier one.
"""

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from src.command import exit_with, settings_in, status_of, storing
from src.errors import UserError
from src.records.find import find
from src.records.record import Record
from src.training.weights import trained

_NOT_STORED = "the result is not in the run's record"
_CHOICES = {"checkpoint": ("best", "last"), "split": ("test", "val")}


def main(argv: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m src.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="checkpoint=best|last, split=test|val")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--robustness", action="store_true", help="noise, blur, rotation, shift, erasing, FGSM, PGD")
    kind.add_argument("--calibrate", action="store_true", help="a temperature that makes the confidence believable")
    parser.add_argument("--json", action="store_true", help="print the entry that is added to the record")
    args = parser.parse_intermixed_args(argv)
    return status_of(lambda: _calibrate(args) if args.calibrate else _run(args))


def _run(args: argparse.Namespace) -> None:
    settings = settings_in(args.settings, _CHOICES)
    record = find(args.run)
    entry = measure(record, **settings, robustness=args.robustness)
    _print(record, entry, args.json)
    with storing(_NOT_STORED):
        store(record, entry)


def _print(record: Record, entry: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(entry, indent=2))
        return
    print(f"{record.values['id']} ({entry['checkpoint']} weights)")
    for name, value in entry["metrics"].items():
        print(f"  {name:<10} {value:.4f}")
    if "robustness" in entry:
        from rich.console import Console

        from src.analysis.robustness import table

        Console().print(table(entry["robustness"]))


def _calibrate(args: argparse.Namespace) -> None:
    settings = settings_in(args.settings, {"checkpoint": _CHOICES["checkpoint"]})  # it is about both splits
    record = find(args.run)
    from src.analysis import calibration

    entry, curves = calibration.measure(record, **settings)
    if args.json:
        print(json.dumps(entry, indent=2))
    else:
        print(f"{record.values['id']} ({settings['checkpoint']} weights)", *calibration.as_lines(entry), sep="\n")
    with storing(_NOT_STORED):
        calibration.store(record, entry, curves)


def measure(record: Record, checkpoint: str = "best", split: str = "test", robustness: bool = False) -> dict[str, Any]:
    """Measure the weights of a run, which is only read.

    Args:
        record: the run.
        checkpoint: best or last.
        split: test, or val for the held-out samples.
        robustness: also measure on corrupted and attacked images, see ``src.analysis.robustness``.

    Returns:
        An entry for the record: ``at``, ``checkpoint``, ``metrics`` (``test/loss`` and ``test/acc``, or their ``val``
        twins) and, if asked for, ``robustness``.

    Raises:
        UserError: the run has no such checkpoint, or no held-out samples, or no images where robustness is asked for.
    """
    from src.config.targets import build
    from src.training.fit import make_trainer

    model, config = trained(record, checkpoint)
    data = build(config["data"], "data", seed=config["seed"])
    if split == "val" and not data.val_size:
        raise UserError(
            f"{record.values['id']} held no samples out (data.val_size=0): there is nothing to validate on."
        )
    one_device = {**config, "trainer": {**config["trainer"], "accelerator": "auto", "devices": 1, "num_nodes": 1}}
    trainer = make_trainer(one_device, callbacks=[], logger=False)
    run = trainer.test if split == "test" else trainer.validate
    [metrics] = run(model, datamodule=data, verbose=False)
    entry: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": checkpoint,
        "metrics": dict(metrics),
    }
    if robustness:
        from src.analysis import robustness as images

        loader = data.test_dataloader() if split == "test" else data.val_dataloader()
        entry["robustness"] = images.measure(model, loader, trainer, config["seed"])
    return entry


def store(record: Record, entry: dict[str, Any]) -> None:
    """Add what ``measure`` returns to a run's record, and a picture of the robustness to its TensorBoard.

    Raises:
        OSError: one of them cannot be written.
    """
    record.change(lambda run: {"evaluations": [*run.get("evaluations", []), entry]})
    if "robustness" in entry:
        from src.analysis.robustness import show

        split = "test" if "test/acc" in entry["metrics"] else "val"
        show(record, entry["robustness"], f"{record.values['id']}, {entry['checkpoint']} weights, {split} set")


if __name__ == "__main__":
    exit_with(main())
