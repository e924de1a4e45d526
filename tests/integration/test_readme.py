"""docs/extending.md: the files that it shows are added to a copy of the project, and used."""

from collections.abc import Callable
from pathlib import Path

from tests.conftest import SMALL, Finished, copy_of_the_project
from tests.helpers.readme import FILES

CHOICES = ("optimizer=radam", "model=cnn", "data=stripes", "callbacks=shout")
WRONG = {
    "model.chanels=8": "'model.channels'",
    "+model.channel=8": "'channels'",
    "+optimizer.betaz=[0.9,0.9]": "'betas'",
    "+data.val_sizes=3": "'val_size'",
}


def training(choice: str) -> list[str]:
    words = [word for word in SMALL if not word.startswith((f"{choice.partition('=')[0]}.", "data.train_size"))]
    return [*words, choice, "trainer.max_epochs=1"]


def test_what_the_guide_adds_trains_and_its_settings_are_checked(
    train_several: Callable[..., list[Finished]], tmp_path: Path
):
    project = copy_of_the_project(tmp_path / "project")
    for name, text in FILES.items():
        (project / name).write_text(text)
    refused = [["optimizer=radam", "model=cnn", "data=stripes", word] for word in WRONG]
    done = train_several(*refused, *map(training, CHOICES), cwd=project)
    for refusal, (word, suggestion) in zip(done, WRONG.items(), strict=False):
        assert refusal.status == 2, word
        assert suggestion in refusal.stderr
    trained = done[len(WRONG) :]
    assert [one.status for one in trained] == [0] * len(CHOICES), [one.stderr for one in trained]
    runs = trained[0].runs
    assert [run["status"] for run in runs] == ["done"] * len(CHOICES)  # and none of a refused configuration
    assert min(run["metrics"]["test/acc"] for run in runs) > 0.3
    assert "DONE!" in trained[-1].stdout
