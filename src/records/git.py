"""The commit of a run's code, and the uncommitted changes as a patch."""

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
# Maximum total size of changed and new files; larger changes are assumed not to be code, and are not stored.
_LARGEST_PATCH_BYTES = 1_000_000
# Variables that locate git and the repository. Other GIT_ variables, such as a hook inherits, would change git's behavior.
_LOCATION = ("GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM")
# Disables the user's hooks, attributes and settings that could change the files of a worktree.
_PLAIN = tuple(
    word
    for setting in (
        *(f"core.hooksPath={os.devnull}", f"core.attributesFile={os.devnull}", "core.fsmonitor=false"),
        *("core.autocrlf=false", "core.eol=native", "core.sparseCheckout=false", "submodule.recurse=false"),
    )
    for word in ("-c", setting)
)
_NO_CONFIG = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
# The settings taken from the user's configuration: filters, needed to compare stored files with those on disk; excluded files,
# which may be secret; and properties of the file system.
_ADOPTED = r"^(filter\..*|core\.(excludesfile|filemode|symlinks|ignorecase|precomposeunicode))$"


def run_git(
    *words: str, cwd: Path, check: bool = True, stdin: bytes | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run git with English messages and without the GIT_ variables of this process's environment.

    Args:
        words: the arguments of git.
        cwd: the working directory.
        check: whether to raise if the exit status is not 0.
        stdin: standard input of git.
        variables: added to the environment.

    Raises:
        OSError: git cannot be started.
        subprocess.CalledProcessError: git failed, and ``check`` is set.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _LOCATION}
    environment = {**kept, "LC_ALL": "C", "GIT_ATTR_NOSYSTEM": "1", **(variables or {})}
    return subprocess.run(["git", *words], cwd=cwd, env=environment, check=check, input=stdin, capture_output=True)


def why_git_failed(error: OSError | subprocess.CalledProcessError) -> str:
    """The cause of a failure of git, in one line."""
    if isinstance(error, OSError):
        return f"git cannot be started ({error.strerror})"
    lines = error.stderr.decode(errors="replace").strip().splitlines() or [f"git ended with status {error.returncode}"]
    return next((line for line in lines if line.startswith("fatal: ")), lines[0])


@cache
def git(root: Path = ROOT) -> dict[str, Any] | None:
    """The current commit and the uncommitted changes; None outside a repository.

    Returns:
        ``commit``, the hash; ``dirty``, whether there are uncommitted changes; ``patch``, the changes as a git patch, including
        untracked files that are not ignored, or None if there are none or they are larger than a megabyte; ``problem``, the
        reason why the entries are incomplete, or None. ``commit`` and ``dirty`` are None if unknown.
    """
    if not any(Path(folder, ".git").exists() for folder in (root, *root.parents)):
        return None
    try:
        return _Repository(root).describe()
    except (OSError, subprocess.CalledProcessError) as error:
        return {"commit": _head(root), "dirty": None, "patch": None, "problem": why_git_failed(error)}


class _Repository:
    """Read-only access to the repository that contains a directory.

    Git runs in a temporary repository, with a copy of the index and without the user's configuration, attributes and hooks, so
    that none of them is executed or affects the result.

    Args:
        root: the directory.

    Raises:
        subprocess.CalledProcessError: the directory is in no repository that git can read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        asked = ("index", "objects", "info/exclude")
        # Safe for a repository of any owner: locating its files runs none of its code.
        found = run_git(
            *("-c", "safe.directory=*", "rev-parse", "--show-toplevel", "--show-prefix"),
            *(word for name in asked for word in ("--git-path", name)),
            cwd=root,
            variables=_NO_CONFIG,
        ).stdout
        top, self.prefix, *paths = os.fsdecode(found).split("\n")
        self.top, (self.index, self.objects, self.exclude) = Path(top), (Path(root, path) for path in paths[:3])

    def describe(self) -> dict[str, Any]:
        """Return the result of ``git``."""
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
            # A nested repository has a separate history, which a patch cannot contain.
            inner = [path for path in changed if Path(path, ".git").exists()]
            files = [path for path in changed if path not in inner]
            is_small = sum(path.lstat().st_size for path in files if os.path.lexists(path)) <= _LARGEST_PATCH_BYTES
            found, failure = self._patch(own, files) if is_small else (b"", None)
        # A patch with a masked secret in a context line or a removed line cannot be applied.
        patch = mask(found.decode(errors="surrogateescape")).encode(errors="surrogateescape")
        if patch != found:
            failure = failure or "credentials in the changes are masked"
        if not is_small or len(patch) > _LARGEST_PATCH_BYTES:
            patch, failure = b"", f"the changes since the commit are larger than {_LARGEST_PATCH_BYTES:,} bytes"
        problem = failure or (f"{inner[0].relative_to(self.top)} is a repository of its own" if inner else None)
        return {"commit": commit, "dirty": bool(patch or problem), "patch": patch or None, "problem": problem}

    def _own(self, folder: Path, commit: str) -> dict[str, str]:
        """Create the temporary repository; returns the environment variables with which git uses it."""
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
                shutil.copy2(path, folder / path.name)  # git compares the content of files as recent as the index
        # In a repository of another owner this reads only the user's configuration.
        listed = run_git("config", "-z", "--get-regexp", _ADOPTED, cwd=self.root, check=False)
        if listed.returncode > 1:  # 1: no match
            listed.check_returncode()
        pairs = [entry.partition("\n")[::2] for entry in os.fsdecode(listed.stdout).split("\0") if entry]
        pairs += [("core.attributesFile", os.devnull)]
        variables = {"GIT_CONFIG_COUNT": str(len(pairs))}
        for number, (key, value) in enumerate(pairs):
            variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return {**_NO_CONFIG, **variables, "GIT_DIR": str(folder), "GIT_WORK_TREE": str(self.top)}

    def _changed(self, own: Mapping[str, str]) -> list[Path]:
        """Changed and untracked files below the directory, including those with the flag assume-unchanged or skip-worktree."""
        marked = run_git("ls-files", "-v", "-z", cwd=self.root, variables=own).stdout.split(b"\0")
        entries = [(entry[:1], entry[2:]) for entry in marked if entry]
        unchanged = [path for mark, path in entries if mark.islower()]
        # Files that a sparse checkout excludes do not exist.
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
        # A staged deletion is already in the copied index, and ``git add`` would fail for its name.
        return [
            Path(self.top, os.fsdecode(entry[3:])) for entry in listing.split(b"\0") if entry and entry[:2] != b"D "
        ]

    def _patch(self, own: Mapping[str, str], files: list[Path]) -> tuple[bytes, str | None]:
        """The patch from the commit to the files on disk, and the reason if a file could not be read."""
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
        # Without a work tree no attributes can select another diff driver.
        bare = {name: value for name, value in own.items() if name != "GIT_WORK_TREE"}
        difference = ("diff-index", "--cached", "--patch", "--binary", "--full-index", "--no-renames", "HEAD", "--")
        words = ("--literal-pathspecs", *difference, *([self.prefix] if self.prefix else []))
        return run_git(*words, cwd=Path(own["GIT_DIR"]), variables=bare).stdout, failure


def _code(root: Path) -> list[str]:
    """Pathspecs of the code: everything below ``root`` except the runs, also if outputs/ is a symbolic link."""
    runs, outputs = ["outputs"], outputs_dir()
    elsewhere = outputs.parent.resolve() / outputs.name
    if root.resolve() in elsewhere.parents:
        runs.append(str(elsewhere.relative_to(root.resolve())))
    return [".", *(f":(exclude,literal){folder}" for folder in runs)]


def _head(root: Path) -> str | None:
    """The commit of HEAD, read from the repository's files if git fails; None if it cannot be determined."""
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
    """Message about how the code differs from that of a run or sweep; None if no difference is known.

    Args:
        before: the ``git`` entry of the record.
        directory: directory of the run or sweep, which contains its patch.
        now: the result of ``git``.
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
    """Context with a temporary git worktree of a commit, with a patch applied.

    Args:
        tree: folder of the worktree; must not exist.
        commit: the commit to check out.
        patch: the file written by ``store_patch``.

    Returns:
        The project's folder in the worktree.

    Raises:
        UserError: git failed.
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
    """Write the patch in a result of ``git`` to a file; returns the entry for the record, with the name of the file."""
    if not code or code["patch"] is None:
        return code
    (directory / PATCH).write_bytes(code["patch"])
    return {**code, "patch": PATCH}
