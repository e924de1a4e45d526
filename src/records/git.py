"""The commit a run was made from, and the uncommitted changes as a patch."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.masking import mask
from src.paths import ROOT, outputs_dir

PATCH = "code.patch"
# Changed and new files above this are more than a change of code; they are not kept.
_LARGEST_PATCH_BYTES = 1_000_000
# Where git and the repository are to be found. Any other GIT_ variable, such as a hook inherits, would change what git does.
_LOCATION = ("GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
# No hook, attribute or setting of the user's takes part in making a worktree, or its files might not be the recorded ones.
_PLAIN = tuple(
    word
    for setting in (
        *(f"core.hooksPath={os.devnull}", f"core.attributesFile={os.devnull}", "core.fsmonitor=false"),
        *("core.autocrlf=false", "core.eol=native", "core.sparseCheckout=false", "submodule.recurse=false"),
    )
    for word in ("-c", setting)
)
_NO_CONFIG = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
# All that is adopted from the user's configuration: filters, without which stored files cannot be compared with those on
# disk; what must not be recorded, since it may be secret; and properties of the file system.
_ADOPTED = r"^(filter\..*|core\.(excludesfile|filemode|symlinks|ignorecase|precomposeunicode))$"


def run_git(
    *words: str, cwd: Path, check: bool = True, stdin: bytes | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run git with English messages and without the GIT_ variables of this process's environment.

    Args:
        words: the command line.
        cwd: the directory to run in.
        check: whether a status other than 0 is an error.
        stdin: what git reads.
        variables: added to the environment.

    Raises:
        OSError: git cannot be started.
        subprocess.CalledProcessError: it failed, and ``check`` is set.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _LOCATION}
    environment = {**kept, "LC_ALL": "C", "GIT_ATTR_NOSYSTEM": "1", **(variables or {})}
    return subprocess.run(["git", *words], cwd=cwd, env=environment, check=check, input=stdin, capture_output=True)


def why_git_failed(error: OSError | subprocess.CalledProcessError) -> str:
    """The cause, in a line."""
    if isinstance(error, OSError):
        return f"git cannot be started ({error.strerror})"
    lines = error.stderr.decode(errors="replace").strip().splitlines() or [f"git ended with status {error.returncode}"]
    return next((line for line in lines if line.startswith("fatal: ")), lines[0])


@cache
def git(root: Path = ROOT) -> dict[str, Any] | None:
    """The commit the code is at, and what was changed since; None outside a repository.

    Returns:
        ``commit``; ``dirty``, whether anything differs from it; ``patch``, the difference as git's own patch, with new
        files but for those that git ignores, or None where there is none or it is larger than a megabyte; ``problem``, why
        not all of these are known, else None. ``commit`` and ``dirty`` are None where they are not known.
    """
    if not any(Path(folder, ".git").exists() for folder in (root, *root.parents)):
        return None
    try:
        return _Repository(root).describe()
    except (OSError, subprocess.CalledProcessError) as error:
        return {"commit": _head(root), "dirty": None, "patch": None, "problem": why_git_failed(error)}


class _Repository:
    """The repository that a directory belongs to, which is only read.

    Git works on it from a repository of its own in a temporary directory, with a copy of the index and without any
    configuration, attributes or hooks of the user's, so that none of them can change what is found, and none is run.

    Args:
        root: the directory.

    Raises:
        subprocess.CalledProcessError: it belongs to none that git can read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        asked = ("index", "objects", "info/exclude")
        # Reading where things are runs nothing that belongs to the repository, whoever owns it.
        found = run_git(
            *("-c", "safe.directory=*", "rev-parse", "--show-toplevel", "--show-prefix"),
            *(word for name in asked for word in ("--git-path", name)),
            cwd=root,
            variables=_NO_CONFIG,
        ).stdout
        top, self.prefix, *paths = os.fsdecode(found).split("\n")
        self.top, (self.index, self.objects, self.exclude) = Path(top), (Path(root, path) for path in paths[:3])

    def describe(self) -> dict[str, Any]:
        """What ``git`` returns."""
        head = run_git(
            *("-c", "safe.directory=*", "rev-parse", "--verify", "--quiet", "HEAD"),
            cwd=self.root,
            check=False,
            variables=_NO_CONFIG,
        )
        if head.returncode:
            return {"commit": None, "dirty": True, "patch": None, "problem": "nothing has been committed yet"}
        commit = head.stdout.decode().strip()
        with tempfile.TemporaryDirectory(prefix="patch-") as aside:
            own = self._own(Path(aside, "git"), commit)
            changed = self._changed(own)
            # A repository within this one has a history of its own, which a patch cannot hold.
            inner = [path for path in changed if Path(path, ".git").exists()]
            files = [path for path in changed if path not in inner]
            is_small = sum(path.lstat().st_size for path in files if os.path.lexists(path)) <= _LARGEST_PATCH_BYTES
            found, failure = self._patch(own, files) if is_small else (b"", None)
        # Where a secret stands in an unchanged or a removed line, the patch cannot be applied without it.
        patch = mask(found.decode(errors="surrogateescape")).encode(errors="surrogateescape")
        if patch != found:
            failure = failure or "credentials in the changes are masked"
        if not is_small or len(patch) > _LARGEST_PATCH_BYTES:
            patch, failure = b"", f"the changes since the commit are larger than {_LARGEST_PATCH_BYTES:,} bytes"
        problem = failure or (f"{inner[0].relative_to(self.top)} is a repository of its own" if inner else None)
        return {"commit": commit, "dirty": bool(patch or problem), "patch": patch or None, "problem": problem}

    def _own(self, folder: Path, commit: str) -> dict[str, str]:
        """Make the repository in which git works; returns the variables that make git use it."""
        kind = "sha256" if len(commit) == 64 else "sha1"
        init = ("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", str(folder))
        run_git(*init, cwd=self.root, variables=_NO_CONFIG)
        (folder / "HEAD").write_text(f"{commit}\n")
        (folder / "objects" / "info").mkdir(exist_ok=True)
        (folder / "objects" / "info" / "alternates").write_bytes(os.fsencode(self.objects.resolve()) + b"\n")
        if self.exclude.exists():
            (folder / "info").mkdir(exist_ok=True)
            shutil.copyfile(self.exclude, folder / "info" / "exclude")
        for path in [self.index, *self.index.parent.glob("sharedindex.*")]:
            if path.exists():
                shutil.copy2(path, folder / path.name)  # of a file as old as its index git looks at the content
        # In a repository that belongs to somebody else git reads only the user's own configuration here.
        listed = run_git("config", "-z", "--get-regexp", _ADOPTED, cwd=self.root, check=False)
        if listed.returncode > 1:  # 1: there is none
            listed.check_returncode()
        pairs = [entry.partition("\n")[::2] for entry in os.fsdecode(listed.stdout).split("\0") if entry]
        pairs += [("core.attributesFile", os.devnull)]
        variables = {"GIT_CONFIG_COUNT": str(len(pairs))}
        for number, (key, value) in enumerate(pairs):
            variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return {**_NO_CONFIG, **variables, "GIT_DIR": str(folder), "GIT_WORK_TREE": str(self.top)}

    def _changed(self, own: Mapping[str, str]) -> list[Path]:
        """Files that differ from the commit below the directory, new ones too, whatever the index hides."""
        marked = run_git("ls-files", "-v", "-z", cwd=self.root, variables=own).stdout.split(b"\0")
        entries = [(entry[:1], entry[2:]) for entry in marked if entry]
        unchanged = [path for mark, path in entries if mark.islower()]
        # What a sparse checkout left out is absent.
        skipped = [
            path for mark, path in entries if mark in b"Ss" and os.path.lexists(Path(self.root, os.fsdecode(path)))
        ]
        for option, paths in (("--no-assume-unchanged", unchanged), ("--no-skip-worktree", skipped)):
            if paths:
                run_git(
                    *("update-index", option, "-z", "--stdin"), cwd=self.root, stdin=b"\0".join(paths), variables=own
                )
        options = ("--porcelain", "--untracked-files=all", "--no-renames", "--ignore-submodules=none", "-z")
        listing = run_git("status", *options, "--", *_code(self.root), cwd=self.root, variables=own).stdout
        # A staged deletion is in the copied index already, and ``git add`` would not find the name anywhere.
        return [
            Path(self.top, os.fsdecode(entry[3:])) for entry in listing.split(b"\0") if entry and entry[:2] != b"D "
        ]

    def _patch(self, own: Mapping[str, str], files: list[Path]) -> tuple[bytes, str | None]:
        """The difference between the commit and the files on disk, and what could not be read."""
        failure = None
        if files:
            names = b"\0".join(os.fsencode(path.relative_to(self.top)) for path in files)
            options = ("--all", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul")
            added = run_git(
                "--literal-pathspecs", "add", *options, cwd=self.top, check=False, stdin=names, variables=own
            )
            if added.returncode:
                failure = why_git_failed(
                    subprocess.CalledProcessError(added.returncode, "git", added.stdout, added.stderr)
                )
        # Without a work tree there are no attributes that could choose another form of difference.
        bare = {name: value for name, value in own.items() if name != "GIT_WORK_TREE"}
        difference = ("diff-index", "--cached", "--patch", "--binary", "--full-index", "--no-renames", "HEAD", "--")
        words = ("--literal-pathspecs", *difference, *([self.prefix] if self.prefix else []))
        return run_git(*words, cwd=Path(own["GIT_DIR"]), variables=bare).stdout, failure


def _code(root: Path) -> list[str]:
    """What counts as code, for git: all below ``root`` but the runs, even where outputs/ is a symbolic link."""
    runs, outputs = ["outputs"], outputs_dir()
    elsewhere = outputs.parent.resolve() / outputs.name
    if root.resolve() in elsewhere.parents:
        runs.append(str(elsewhere.relative_to(root.resolve())))
    return [".", *(f":(exclude,literal){folder}" for folder in runs)]


def _head(root: Path) -> str | None:
    """HEAD's commit as it stands in the repository's files, for where git cannot be asked; None where it does not."""
    try:
        folder = next(path for path in (Path(above, ".git") for above in (root, *root.parents)) if path.exists())
        if folder.is_file():  # a worktree or a submodule
            folder = Path(folder.parent, folder.read_text().removeprefix("gitdir:").strip())
        shared = Path(folder, (folder / "commondir").read_text().strip()) if (folder / "commondir").exists() else folder
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        ref = head.removeprefix("ref: ")
        if (shared / ref).exists():
            return (shared / ref).read_text().strip()
        packed = (line.split() for line in (shared / "packed-refs").read_text().splitlines())
        return next((words[0] for words in packed if words[1:] == [ref]), None)
    except (OSError, ValueError):
        return None


def difference(before: Mapping[str, Any] | None, directory: Path, now: Mapping[str, Any] | None) -> str | None:
    """How the code differs from what a run or sweep has recorded, in words; None if it does not, as far as is known.

    Args:
        before: the entry of the record.
        directory: of the run or sweep, with its patch.
        now: what ``git`` says.
    """
    if not before or not now:
        return None if before == now else f"the code was {'in' if before else 'outside'} git when it began"
    if before["commit"] != now["commit"]:
        here, there = (str(code["commit"] or "unknown")[:12] for code in (now, before))
        return f"the code is at commit {here}, and was at {there} when it began"
    patch = (directory / before["patch"]).read_bytes() if before["patch"] else None
    return None if patch == now["patch"] else "the uncommitted changes are not those of when it began"


@contextmanager
def worktree(tree: Path, commit: str, patch: Path | None) -> Iterator[Path]:
    """Check out a commit apart from the project, with a patch applied; it is removed in the end.

    Args:
        tree: a folder that does not exist.
        commit: to check out.
        patch: what ``store_patch`` has written.

    Returns:
        The project's folder there.

    Raises:
        UserError: git cannot do it.
    """
    _git("worktree", "add", "--quiet", "--force", "--detach", str(tree), commit)
    try:
        if patch:
            apply = ("apply", "--whitespace=nowarn", "--no-ignore-whitespace")
            _git("-C", str(tree), *apply, str(patch.absolute()))
        yield tree / ROOT.relative_to(_git("rev-parse", "--show-toplevel"))
    finally:
        _git("worktree", "remove", "--force", str(tree))


def _git(*words: str) -> str:
    try:
        return os.fsdecode(run_git(*_PLAIN, *words, cwd=ROOT).stdout).strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"{shlex.join(['git', *words])}: {why_git_failed(error)}.") from error


def store_patch(code: dict[str, Any] | None, directory: Path) -> dict[str, Any] | None:
    """Write the patch that ``git`` has returned to a file of a run or sweep; returns the entry that refers to it."""
    if not code or code["patch"] is None:
        return code
    (directory / PATCH).write_bytes(code["patch"])
    return {**code, "patch": PATCH}
