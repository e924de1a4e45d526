"""Shell completion: what bash, zsh and fish offer after TAB."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.paths import ROOT
from tests.conftest import MakeRun
from tests.helpers.shells import Shell

INPUTRC = """
set enable-bracketed-paste off
set show-all-if-ambiguous on
set completion-query-items 0
set page-completions off
"""
# Typed, and what the shell then shows.
INSERTED = {
    "src.tra": r"src\.train",
    "src.train optimizer=rm": "optimizer=rmsprop",
    "src.train optimizer=sgd optimizer.nest": r"optimizer\.nesterov=",
    "src.runs repr": "reproduce",
    "src.runs ls --sw": "--sweep",
    "src.evaluate latest checkpoint=la": "checkpoint=last",
}
LISTED = {
    "src.train -m optimizer=ada": ("adagrad", "adam", "adamw"),
    "src.train task.loss=": ("cross_entropy", "focal"),
    "src.runs show ": ("latest", "best", "tuned", "r20260101-000000-0001"),
}

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
needs_zsh = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
needs_fish = pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")


@pytest.fixture
def outputs(outputs: Path, make_run: MakeRun) -> Path:
    """A folder with the record of a run, and a damaged one."""
    make_run("name=tuned")
    (outputs / "runs" / "r20260101-000000-0001").mkdir()
    (outputs / "runs" / "r20260101-000000-0001" / "run.json").write_text("{")
    return outputs


def answer(line: str, outputs: Path, shell: str = "fish") -> dict[str, str]:
    """The words that complete a line, with their descriptions, by the protocol that the shells use."""
    reading, writing = os.pipe()
    variables = {
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "",
        "_ARGCOMPLETE": "3",
        "_ARGCOMPLETE_SHELL": shell,
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_DFS": "\t",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "OUTPUTS_DIR": str(outputs),
    }
    code = f"import os; os.dup2({writing}, 8); import runpy; runpy.run_module('src.completion', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=ROOT,
        env={**os.environ, **variables},
        pass_fds=[writing],
        capture_output=True,
        text=True,
    )
    os.close(writing)
    with os.fdopen(reading) as file:
        words = dict(line.partition("\t")[::2] for line in file.read().splitlines())
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if not line.startswith("import time:")] == []
    assert not {"torch", "lightning"} & {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("src.train ", {"optimizer=", "optimizer.", "seed=", "hydra/launcher="}),
        ("src.train 'callbacks=[default,mi", {"callbacks=[default,mistakes"}),
        ("src.train experiment=article_sgd optimizer.", {"optimizer.lr="}),
        ("src.train optimizer=nonsense seed=1 optimizer.", {"optimizer.lr=", "optimizer.betas="}),
        ("src.train task=distillation task.teacher=tu", {"task.teacher=tuned"}),
        ("src.train +optimizer.a", {"+optimizer.amsgrad="}),
        ("src.train ~callbacks.b", {"~callbacks.best.monitor"}),
        ("src.train -m seed=1 --pl", {"--plan"}),
        ("src.runs ls --sort dur", {"duration"}),
    ],
)
def test_words_are_offered_without_torch_and_without_a_message(line: str, expected: set[str], outputs: Path):
    before = sorted(outputs.rglob("*"))
    assert expected <= answer(f"python -m {line}", outputs).keys()
    assert sorted(outputs.rglob("*")) == before


def test_flags_and_settings_have_descriptions(outputs: Path):
    assert answer("python -m src.train optimizer.l", outputs) == {"optimizer.lr=": "learning rate"}


@needs_bash
def test_bash_completes(outputs: Path, tmp_path: Path):
    (tmp_path / "inputrc").write_text(INPUTRC)
    variables = {"INPUTRC": str(tmp_path / "inputrc"), "PS1": "ready> ", "OUTPUTS_DIR": str(outputs)}
    with Shell(["bash", "--norc", "--noprofile", "-i"], ROOT, variables) as shell:
        _try(shell, "bash")


@needs_zsh
def test_zsh_completes(outputs: Path, tmp_path: Path):
    variables = {"PS1": "ready> ", "OUTPUTS_DIR": str(outputs), "ZDOTDIR": str(tmp_path)}
    with Shell(["zsh", "-f", "-i"], ROOT, variables) as shell:
        shell.type("autoload -Uz compinit; compinit -u -D; LISTMAX=10000; unsetopt PROMPT_SP; echo do''ne\n", "done")
        _try(shell, "zsh")


def _try(shell: Shell, name: str) -> None:
    shell.type(f'eval "$({sys.executable} -m src.completion {name})"; echo evalu""ated\n', "evaluated")
    for typed, shown in INSERTED.items():
        shell.type(f"{sys.executable} -m {typed}\t", shown)
        shell.type("\x15echo cle''ared\n", "cleared")
    for typed, words in LISTED.items():
        text = shell.type(f"{sys.executable} -m {typed}\t\t", rf"(?s){words[-1]}\b")
        assert all(word in text for word in words)
        shell.type("\x15echo cle''ared\n", "cleared")


@needs_fish
def test_fish_completes(outputs: Path):
    for typed, words in LISTED.items():
        code = f"python -m src.completion fish | source; complete -C 'python -m {typed}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", code],
            cwd=ROOT,
            env={
                **os.environ,
                "OUTPUTS_DIR": str(outputs),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
        )
        assert all(word in done.stdout for word in words), done.stderr
