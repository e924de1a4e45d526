"""Settings are read from signatures: what a schema admits, that editors can use it, and when it is generated again."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from src.paths import ROOT
from tests.conftest import Finished, copy_of_the_project


def test_the_committed_schemas_are_up_to_date():
    done = subprocess.run(
        [sys.executable, "-m", "src.config.schemas", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_class_that_is_not_in_the_schemas_is_imported_once_and_again_when_its_source_changes(tmp_path: Path):
    project = copy_of_the_project(tmp_path / "project")
    model = project / "src" / "models" / "mine.py"
    source = (
        "from torch import nn\n\n\nclass Mine(nn.Module):\n"
        "    def __init__(self, *, input_shape, outputs, width: int = 3):\n        super().__init__()\n"
    )
    model.write_text(source)
    (project / "conf" / "model" / "mine.yaml").write_text("_target_: src.models.mine.Mine\n")

    def check(word: str) -> tuple[str, bool]:
        """The error, and whether torch was imported."""
        code = (
            "import sys\nfrom src.config.command_line import parse\nfrom src.config.compose import preflight\n"
            "from src.errors import ConfigError\n"
            f"try:\n    preflight(parse(['model=mine', {word!r}]))\nexcept ConfigError as error:\n    print(error)\n"
            "sys.exit('torch' in sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
        assert not done.stderr
        return done.stdout.strip(), bool(done.returncode)

    assert check("+model.width=4") == ("", True)
    assert check("+model.width=4") == ("", False)
    assert check("+model.width=x") == ("model.width='x' must be an integer.", False)
    model.write_text(f"{source}        self.width = width  # read by nobody\n")
    assert check("+model.width=4") == ("", False)
    model.write_text(source.replace("width: int", "width: str"))
    assert check("+model.width=x") == ("", True)
    assert check("+model.width=x") == ("", False)


def test_a_new_parameter_of_a_class_in_the_schemas_can_be_set_at_once(
    train_several: Callable[..., list[Finished]], tmp_path: Path
):
    project = copy_of_the_project(tmp_path / "project")
    points = project / "src" / "data" / "points.py"
    points.write_text(points.read_text().replace("**settings: Any", "colour: str = 'red', **settings: Any"))
    words = ["data=points", "--cfg", "job"]
    known, misspelt = train_several([*words, "+data.colour=blue"], [*words, "+data.color=blue"], cwd=project)
    assert known.status == 0, known.stderr
    assert misspelt.status == 2
    assert "did you mean 'colour'" in misspelt.stderr
