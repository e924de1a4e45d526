"""Notifications: a real server, a real program, and settings that are not valid."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from src.errors import ConfigError
from src.notifications import VARIABLE, Event, Notifications, configured

EVENT = Event("done", "r1 done, best/val/acc 0.9754", {"run": "r1", "metrics": {"val/acc": 0.9754}})


class Server(ThreadingHTTPServer):
    """A server on localhost that keeps what is posted to it."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.bodies = status, list[tuple[str, bytes]]()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/services/T0000/secret-of-the-channel"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.headers["Content-Type"], body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without a configuration."""
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_nothing_is_sent_unless_it_is_configured(home: Path):
    assert configured() == Notifications()
    assert not configured().wants("done")
    assert configured().send(EVENT)


def test_the_file_in_the_home_directory_is_read(home: Path):
    path = home / ".config/tracking/notifications.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "events: [failed]\nwebhook: https://example.org/x\nbody: slack\ncommand: ~/bin/tell 'all of it'\nplateau: 3\n"
    )
    assert configured() == Notifications(
        ("failed",), webhook="https://example.org/x", body="slack", command=(f"{home}/bin/tell", "all of it"), plateau=3
    )
    path.write_text("")
    assert configured() == Notifications()


def test_the_variable_replaces_the_file(home: Path, monkeypatch: pytest.MonkeyPatch):
    other = home / "other.yaml"
    other.write_text("desktop: true")
    for value, expected in (
        ("off", Notifications()),
        (str(other), Notifications(desktop=True)),
        ("~/other.yaml", Notifications(desktop=True)),
        ("{command: [echo, a b]}", Notifications(command=("echo", "a b"))),
    ):
        monkeypatch.setenv(VARIABLE, value)
        assert configured() == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{webhok: https://example.org}", "did you mean 'webhook'"),
        ("{webhook: file:///etc/passwd}", r"webhook=\*\*\* must be a URL that begins with https:// or http://"),
        ("{webhook: 3}", "must be a URL"),
        ("{events: [finished]}", "must be a list of done, failed, nan, interrupted, plateau"),
        ("{events: done}", "must be a list"),
        ("{desktop: yes please}", "must be true or false"),
        ("{body: xml}", "must be one of json, text, slack, discord"),
        ("{plateau: 0}", "at least 1"),
        ("{plateau: true}", "at least 1"),
        ("{command: []}", "must be a command line"),
        ("{command: ''}", "must name a program"),
        ('{command: "it\'s"}', "cannot be split"),
        ("{command: !!python/name:os.system}", "is not valid YAML"),
        ("{", "is not valid YAML"),
        ("missing.yaml", "cannot be read"),
    ],
)
def test_what_is_not_valid_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ConfigError, match=said) as error:
        configured()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "kind", "key"),
    [
        ("json", "application/json", "text"),
        ("slack", "application/json", "text"),
        ("discord", "application/json", "content"),
    ],
)
def test_a_webhook_receives_the_event(server: Server, body: str, kind: str, key: str):
    assert Notifications(webhook=server.url, body=body).send(EVENT)
    [(type, content)] = server.bodies
    assert (type, json.loads(content)[key]) == (kind, EVENT.text)
    if body == "json":
        assert json.loads(content) == {"event": "done", "text": EVENT.text, **EVENT.details}


def test_a_webhook_receives_text(server: Server):
    Notifications(webhook=server.url, body="text").send(Event("failed", "naïve ✓", {}))
    assert server.bodies == [("text/plain; charset=utf-8", "naïve ✓".encode())]


def test_a_failing_webhook_is_reported_without_its_address(server: Server, capsys: pytest.CaptureFixture[str]):
    server.status = 404
    assert not Notifications(webhook=server.url).send(EVENT)
    assert not Notifications(webhook="http://127.0.0.1:1/secret-of-the-channel").send(EVENT)
    said = capsys.readouterr().err
    assert [line.partition(": ")[0] for line in said.splitlines()] == ["warning", "warning"]
    assert "webhook: status 404" in said
    assert "secret-of-the-channel" not in said


def test_a_command_receives_the_event_on_standard_input(tmp_path: Path):
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    assert Notifications(command=(sys.executable, "-c", code, str(tmp_path / "$HOME; it"))).send(EVENT)
    assert json.loads((tmp_path / "$HOME; it").read_text())["text"] == EVENT.text


def test_a_failing_command_is_reported(capsys: pytest.CaptureFixture[str]):
    assert not Notifications(command=("/missing/program",)).send(EVENT)
    assert not Notifications(command=(sys.executable, "-c", "exit('no connection')")).send(EVENT)
    missing, failed = capsys.readouterr().err.splitlines()
    assert "/missing/program: No such file or directory" in missing
    assert failed.endswith("ended with status 1: no connection")


def test_the_desktop_message_is_passed_as_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / ("osascript" if sys.platform == "darwin" else "notify-send")
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Notifications(desktop=True).send(Event("failed", "-u critical $(id)", {}))
    assert (tmp_path / "arguments").read_text().splitlines()[-2:] == ["Training: failed", "-u critical $(id)"]


def test_only_the_chosen_events_are_sent(server: Server):
    chosen = Notifications(events=("failed",), webhook=server.url)
    assert chosen.send(EVENT)
    assert not server.bodies
    assert chosen.send(Event("failed", "r1 failed", {}))
    assert len(server.bodies) == 1


def test_secrets_are_masked(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdef")
    Notifications(webhook=server.url).send(
        Event("failed", "no access with hf_0123456789abcdef", {"x": "hf_0123456789abcdef"})
    )
    [(_, content)] = server.bodies
    assert b"hf_0123456789abcdef" not in content
