"""Notifications about runs and sweeps: a desktop message, a webhook, or a command.

They are configured for the user, by ``~/.config/tracking/notifications.yaml`` or the environment variable
``TRACKING_NOTIFICATIONS``, and never by the configuration or the record of a run, which may come from someone else.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from src.errors import ConfigError, suggest
from src.masking import mask
from src.paths import user_path

VARIABLE = "TRACKING_NOTIFICATIONS"
EVENTS = ("done", "failed", "nan", "interrupted", "plateau")
_DEFAULT_EVENTS = ("done", "failed", "nan", "plateau")
# What is posted to a webhook.
_BODIES = ("json", "text", "slack", "discord")
_SECONDS = 10  # for a webhook or a command
_MACOS = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"


@dataclass(frozen=True)
class Event:
    """What a notification is about.

    Attributes:
        kind: one of ``EVENTS``.
        text: one line for people.
        details: further values, which JSON can represent.
    """

    kind: str
    text: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Notifications:
    """The notifications that the user has configured; by default none.

    Args:
        events: the events to send: done, failed, nan, interrupted, plateau.
        desktop: whether to show a message on this machine's desktop, by notify-send or osascript.
        webhook: URL to which each event is posted.
        body: what is posted: json (all details), text, slack or discord.
        command: program and arguments to call; the event is passed as JSON on standard input.
        plateau: epochs without an improvement of the monitored metric after which a plateau is reported.
    """

    events: tuple[str, ...] = _DEFAULT_EVENTS
    desktop: bool = False
    webhook: str | None = None
    body: str = "json"
    command: tuple[str, ...] = ()
    plateau: int = 10

    def wants(self, kind: str) -> bool:
        """Whether there is anything to do for an event of this kind."""
        return kind in self.events and bool(self.desktop or self.webhook or self.command)

    def send(self, event: Event) -> bool:
        """Send a notification, if the user wants this kind of event; a failure is reported and raises nothing.

        Returns:
            Whether every configured way succeeded.
        """
        problems = list(self._problems(event)) if self.wants(event.kind) else []
        for problem in problems:
            print(f"warning: the notification was not sent: {mask(problem)}", file=sys.stderr)
        return not problems

    def _problems(self, event: Event) -> Iterator[str]:
        text = mask(event.text)
        if self.desktop:
            title = f"Training: {event.kind}"
            program = ["osascript", "-e", _MACOS] if platform.system() == "Darwin" else ["notify-send", "--"]
            yield from _call([*program, title, text], None)
        details = {"event": event.kind, "text": text, **event.details}
        if self.command:
            yield from _call(self.command, mask(json.dumps(details)))
        if self.webhook:
            kind, content = "application/json", mask(json.dumps(details))
            if self.body == "text":
                kind, content = "text/plain; charset=utf-8", text
            elif self.body != "json":
                content = json.dumps({"text" if self.body == "slack" else "content": text})
            yield from _post(self.webhook, content, kind)


def _post(address: str, content: str, kind: str) -> Iterator[str]:
    """Post to a webhook; yields why it failed, if it did, without the address, which is a secret."""
    from urllib import error, request  # imports http, ssl and email, for which a start need not wait

    try:
        posted = request.Request(address, content.encode(errors="replace"), {"Content-Type": kind})
        request.urlopen(posted, timeout=_SECONDS).close()
    except (OSError, ValueError) as problem:
        reason = f"status {problem.code}" if isinstance(problem, error.HTTPError) else str(problem)
        yield f"webhook: {reason.replace(address, '***')}"


def _call(program: "list[str] | tuple[str, ...]", content: str | None) -> Iterator[str]:
    """Run a program without a shell; yields why it failed, if it did."""
    try:
        done = subprocess.run(
            program, input=content or "", text=True, errors="replace", capture_output=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        yield f"{program[0]} took longer than {_SECONDS} s"
    except OSError as error:
        yield f"{program[0]}: {error.strerror}"
    else:
        if done.returncode:
            yield f"{program[0]} ended with status {done.returncode}: {done.stderr.strip()[-200:]}"


def configured() -> Notifications:
    """The notifications that the user has configured.

    Raises:
        ConfigError: the file or the variable is not valid.
    """
    value = os.environ.get(VARIABLE, "").strip()
    if value == "off":
        return Notifications()
    if value.startswith("{"):
        return _parse(value, VARIABLE)
    home = user_path(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    path = user_path(value) if value else home / "tracking" / "notifications.yaml"
    try:
        return _parse(path.read_text(), str(path))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file.") from None
    except OSError as error:
        if not value and isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            return Notifications()
        raise ConfigError(
            f"{VARIABLE}={value} cannot be read ({error.strerror}): name a YAML file, write the settings as {{...}}, or off."
        ) from None


def _parse(text: str, place: str) -> Notifications:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{place} is not valid YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return Notifications()
    names = [field.name for field in fields(Notifications)]
    if not isinstance(values, dict):
        raise ConfigError(f"{place} must contain settings: {', '.join(names)}.")
    for name, value in values.items():
        if name not in names:
            raise ConfigError(f"{place}: {name}: there is no such setting{suggest(str(name), names)}")
        if problem := _problem(name, value):
            raise ConfigError(f"{place}: {name}={value if name != 'webhook' else '***'} {problem}.")
    words = values.get("command", ())
    command = tuple(shlex.split(words) if isinstance(words, str) else words)
    if command:
        command = (os.path.expanduser(command[0]), *command[1:])
    return Notifications(**{**values, "command": command, "events": tuple(values.get("events", _DEFAULT_EVENTS))})


def _problem(name: str, value: Any) -> str | None:
    """What is wrong with the value of a setting, if anything."""
    if name == "events":
        known = isinstance(value, list) and set(map(str, value)) <= set(EVENTS)
        return None if known else f"must be a list of {', '.join(EVENTS)}"
    if name == "desktop":
        return None if isinstance(value, bool) else "must be true or false"
    if name == "webhook":
        is_url = isinstance(value, str) and value.startswith(("https://", "http://"))
        return None if is_url else "must be a URL that begins with https:// or http://"
    if name == "body":
        return None if value in _BODIES else f"must be one of {', '.join(_BODIES)}"
    if name == "plateau":
        is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return None if is_count else "must be a number of epochs, at least 1"
    if isinstance(value, str):
        try:
            return None if shlex.split(value) else "must name a program"
        except ValueError as error:
            return f"cannot be split into words ({error})"
    is_words = isinstance(value, list) and value and all(isinstance(word, str) for word in value)
    return None if is_words else "must be a command line, or a list of words"
