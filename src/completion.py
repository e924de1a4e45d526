"""Print the code that makes a shell complete the commands of this project.

The code completes the arguments of ``python -m src.*`` in the project's directory, and leaves other uses of Python to the
shell's own completion. Add it to the shell's startup file to keep it.

    # Complete in this bash
    eval "$(python -m src.completion bash)"
    # In zsh, after compinit
    eval "$(python -m src.completion zsh)"
    # In fish
    python -m src.completion fish | source
"""

import argparse
import importlib
import os
from collections.abc import Iterable
from functools import partial

from src.parsers import make_parser

# The commands, and the modules with their parsers, which import little.
_PARSERS = {
    "src.train": "src.config.command_line",
    "src.evaluate": "src.evaluate",
    "src.predict": "src.predict",
    "src.export": "src.export",
    "src.explain": "src.explain",
    "src.runs": "src.runs.arguments",
    "src.dashboard": "src.dashboard.__main__",
    "src.completion": "src.completion",
}
_TRAIN = "src.train"
_FILES = ("FILE", "FOLDER", "IMAGE|KEY=VALUE")

# The shell calls this module with the variables of argcomplete's protocol, and reads the answer from descriptor 8.
_SHELLS = {
    "bash": r"""
_src_previous=
if [[ $(complete -p -D 2>/dev/null) =~ -F\ ([^ ]+) ]]; then "${BASH_REMATCH[1]}" python &>/dev/null; fi
if [[ $(complete -p python 2>/dev/null) =~ -F\ ([^ ]+) && ${BASH_REMATCH[1]} != _src_complete ]]; then
    _src_previous=${BASH_REMATCH[1]}
fi
_src_complete() {
    if [[ ${COMP_WORDS[1]-} != -m || ${COMP_WORDS[2]-} != src* || ! -f src/completion.py ]]; then
        [[ -z $_src_previous ]] || "$_src_previous" "$@"
        return
    fi
    local IFS=$'\013' python=$1
    [[ $python != \~/* ]] || python=$HOME/${python:2}
    COMPREPLY=($(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT COMP_TYPE=$COMP_TYPE \
        _ARGCOMPLETE=3 _ARGCOMPLETE_SHELL=bash _ARGCOMPLETE_SUPPRESS_SPACE=1 \
        _ARGCOMPLETE_COMP_WORDBREAKS=$COMP_WORDBREAKS \
        "$python" -m src.completion 8>&1 9>/dev/null 1>/dev/null 2>&1 </dev/null))
    [[ ${COMPREPLY[0]-} != *[=.:/] ]] || compopt -o nospace
}
complete -o bashdefault -o default -F _src_complete python python3
""",
    "zsh": r"""
_src_complete() {
    if [[ $words[2] != -m || $words[3] != src* || ! -f src/completion.py ]]; then
        (( ! $+functions[_python] )) || _python "$@"
        return
    fi
    local line="${(j: :)words[1,CURRENT]}" python=${~words[1]}
    local -a found
    found=("${(@ps:\013:)$(COMP_LINE=$line COMP_POINT=${#line} _ARGCOMPLETE=3 _ARGCOMPLETE_SHELL=zsh \
        _ARGCOMPLETE_SUPPRESS_SPACE=1 $python -m src.completion 8>&1 9>/dev/null 1>/dev/null 2>&1 </dev/null)}")
    local -a nospace
    [[ ${found[1]-} != *[=.:/]:* ]] || nospace=(-S '')
    [[ -z ${found[1]-} ]] || _describe -V argument found "${nospace[@]}"
}
compdef _src_complete python python3
""",
    "fish": r"""
function __src_is_command
    set -l words (commandline -opc) (commandline -ct)
    test "$words[2]" = -m; and string match -q 'src*' -- "$words[3]"; and test -f src/completion.py
end
function __src_complete
    set -l line (commandline -cp)
    set -l python (commandline -opc)[1]
    COMP_LINE=$line COMP_POINT=(string length -- "$line") COMP_TYPE= _ARGCOMPLETE=3 _ARGCOMPLETE_SHELL=fish \
        _ARGCOMPLETE_IFS=\n _ARGCOMPLETE_DFS=\t _ARGCOMPLETE_SUPPRESS_SPACE=1 \
        $python -m src.completion 8>&1 9>/dev/null 1>/dev/null 2>&1 </dev/null
end
complete -c python -c python3 -n __src_is_command -f -a '(__src_complete)'
""",
}


def main(argv: list[str] | None = None) -> int:
    """Print the code of a shell, or answer a shell that runs it; return the exit status."""
    if "_ARGCOMPLETE" in os.environ:
        _answer(os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])])
    print(_SHELLS[build_parser().parse_args(argv).shell].strip())
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("src.completion", __doc__)
    parser.add_argument("shell", choices=tuple(_SHELLS), help="Shell: bash, zsh or fish.")
    return parser


def _answer(line: str) -> None:
    """Write the words that complete a command line to descriptor 8, and end the process."""
    from argcomplete.completers import ChoicesCompleter, FilesCompleter
    from argcomplete.finders import CompletionFinder

    words = line.split()
    if len(words) < 3 or (len(words) == 3 and not line[-1].isspace()):
        os.environ["_ARGCOMPLETE"] = "1"
        parser = argparse.ArgumentParser(add_help=False)
        parser.add_argument("-m", choices=[*_PARSERS])
    elif words[2] == _TRAIN:
        parser = _training(line)
    else:
        parser = importlib.import_module(_PARSERS[words[2]]).build_parser()
    for action in _actions(parser):
        if action.metavar in _FILES and not hasattr(action, "completer"):
            action.completer = FilesCompleter()  # type: ignore[attr-defined]
    CompletionFinder()(parser, always_complete_options=False, default_completer=ChoicesCompleter({}))


def _training(line: str) -> argparse.ArgumentParser:
    """A parser for the last word of a command line of ``src.train``, whose flags and overrides may be mixed."""
    from src.config.suggestions import overrides

    before, _, last = line.rpartition(" ")
    previous = before.split()[-1]
    if not last.startswith("-") and previous not in ("--cfg", "-c", "--info", "-i"):
        before = f"{' '.join(line.split()[:3])}"
    os.environ["COMP_LINE"] = shortened = f"{before} {last}"
    os.environ["COMP_POINT"] = str(len(shortened))
    if last.startswith("-") or previous.startswith("-"):
        from src.config.command_line import build_parser

        parser = build_parser()
    else:
        parser = argparse.ArgumentParser(add_help=False)
        parser.add_argument("overrides", nargs="*")
    for action in _actions(parser):
        if action.dest == "overrides":
            typed = [word.strip("'\"") for word in line.split()[3 : -1 if last else None]]
            action.completer = partial(overrides, typed)  # type: ignore[attr-defined]
    return parser


def _actions(parser: argparse.ArgumentParser) -> Iterable[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


if __name__ == "__main__":
    raise SystemExit(main())
