"""The demo modules that Lightning comes with train unchanged, on the demo data modules that fit them."""

import pytest

from tests.conftest import Command

DEMOS = "lightning.pytorch.demos.boring_classes"


@pytest.mark.parametrize("data", ["BoringDataModule", "BoringDataModuleNoLen", None])
@pytest.mark.parametrize("task", ["BoringModel", "ManualOptimBoringModel", "DemoModel"])
def test_demo_modules_train(train_here: Command, task: str, data: str | None):
    words = ["data=none"] if data is None else ["data=custom", f"data._target_={DEMOS}.{data}"]
    done = train_here("task=custom", f"task._target_={DEMOS}.{task}", *words, "trainer.max_epochs=1", small=False)
    if data is None and task == "DemoModel":  # which has no loaders
        assert done.status == 2
        assert "DemoModel has no train_dataloader" in done.stderr
        return
    assert done.status == 0, done.stdout + done.stderr
    [run] = done.runs
    assert run["status"] == "done"
    assert run["fast_path"] is False
    assert (done.directories[0] / "checkpoints" / "last.ckpt").exists()
