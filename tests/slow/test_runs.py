"""The run table: ``python -m src.runs``, over records that a training left and over some that none would leave."""

import tempfile
from pathlib import Path

from src.records.record import Record
from tests.conftest import Command

# rm, restore, gc


def test_every_result_about_a_run_of_somebody_else_is_printed(train: Command, as_reader: Command, tmp_path: Path):
    done = train("-m", "seed=1,2", "trainer.max_epochs=1")
    job = done.runs[0]["id"]
    Record.load(done.directories[1]).update(status="interrupted")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        for words, printed, said in (
            (["evaluate", job, "--calibrate"], "temperature", "not in the run's record"),
            (["evaluate", job, "--robustness", "split=val"], "pgd", "not in the run's record"),
            (["explain", job, "1", "steps=5", "-o", folder], "true 2", "but not in TensorBoard"),
            (
                ["export", job, "--format", "pt2", "-o", f"{folder}/model.pt2"],
                "test samples",
                "not noted in the run's record",
            ),
            (["train", "-m", "resume=latest"], "", "work on a copy of your own"),
        ):
            done = as_reader(*words)
            assert done.status == 1, done.stderr
            assert printed in done.stdout
            assert said in done.stderr
            assert "Traceback" not in done.stderr
        assert {path.name for path in Path(folder).iterdir()} == {"00001-integrated_gradients.png", "model.pt2"}
