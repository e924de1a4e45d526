"""Secrets that are masked."""

import pytest

from src.errors import ConfigError
from src.masking import conceal_config, conceal_words, has_credentials, mask, mask_settings, reveal

# -- secrets


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("postgresql://u:hunter2@host:5432/x", "postgresql://u:***@host:5432/x"),
        (
            "redis://:hunter2@host and mysql+pymysql://a.b:hunter2!@h/y",
            "redis://:***@host and mysql+pymysql://a.b:***@h/y",
        ),
        ("'postgresql://u:hunt@er2@host/x'", "'postgresql://u:***@host/x'"),
        ("postgresql://u:hun/ter2@host/x", "postgresql://u:***@host/x"),
        ("https://ghp_0123456789abcdefghij@github.com/a/b", "https://***@github.com/a/b"),
        ("https://h/x?user=u&password=hunter2&a=1#token", "https://h/x?user=u&password=***&a=1#token"),
        ("the key hunter2hunter2, of a variable", "the key ${oc.env:SOME_API_KEY}, of a variable"),
        ("http://localhost:6006/a@b and git@github.com:a/b", "http://localhost:6006/a@b and git@github.com:a/b"),
        ('f"postgresql://{user}:{password}@{host}"', 'f"postgresql://{user}:{password}@{host}"'),
        ("hunter2hunter2hunter2 is a word, and PWD none", "hunter2hunter2hunter2 is a word, and PWD none"),
        ("postgresql://u:${oc.env:PASSWORD}@h/x", "postgresql://u:${oc.env:PASSWORD}@h/x"),
        ('+api_key = "sk-123"', '+api_key = "***"'),
        ('openai.api_key = "sk-123"', 'openai.api_key = "***"'),
        ('os.environ["OPENAI_API_KEY"] = "sk-123"', 'os.environ["OPENAI_API_KEY"] = "***"'),
        ("+  'password': 'hunter2',", "+  'password': '***',"),
        ("+api_key: sk-123456", "+api_key: ***"),
        (
            "AWS_SECRET_ACCESS_KEY=abcd12345678\nexport HF_TOKEN=hf_12345678",
            "AWS_SECRET_ACCESS_KEY=***\nexport HF_TOKEN=***",
        ),
        (
            'password = ask("password2")\ntoken = tokens[123456789]',
            'password = ask("password2")\ntoken = tokens[123456789]',
        ),
        ("secret: str = os.environ['SECRET_12345678']", "secret: str = os.environ['SECRET_12345678']"),
        ("_KEY = 'books', token = 'a word'", "_KEY = 'books', token = 'a word'"),
    ],
)
def test_secrets_are_masked_in_text_and_nothing_else_is(text: str, without: str, monkeypatch: pytest.MonkeyPatch):
    assert has_credentials(text) == (mask(text) != text)
    monkeypatch.setenv("SOME_API_KEY", "hunter2hunter2")
    assert mask(text) == without
    assert mask(without) == without


def test_the_secrets_of_a_command_line_move_into_the_environment(monkeypatch: pytest.MonkeyPatch):
    for variable in ("A_URL_PASSWORD", "B_API_KEY"):
        monkeypatch.setenv(variable, "")  # to be removed after the test
    monkeypatch.setenv("DB_PASSWORD", "swordfish")
    words = [
        "-m",
        "seed=1",
        "a.url='x://u:hunter2@h'",
        "+b.api_key=k-1",
        "c.pad_token=x",
        "d.token=null",
        "e=x://u:swordfish@h",
    ]
    found = conceal_words(words)
    assert found == [
        "-m",
        "seed=1",
        "a.url='x://u:${oc.env:A_URL_PASSWORD}@h'",
        "+b.api_key=${oc.env:B_API_KEY}",
        "c.pad_token=x",
        "d.token=null",
        "e=x://u:${oc.env:DB_PASSWORD}@h",  # which held it before
    ]
    assert conceal_words(found) == found
    assert reveal({"key": [found[3].partition("=")[2]]}, "b") == {"key": ["k-1"]}
    monkeypatch.delenv("B_API_KEY")
    with pytest.raises(ConfigError, match=r"set the environment variable B_API_KEY, or give b\.api_key= again"):
        reveal("${oc.env:B_API_KEY}", "b.api_key")


def test_a_password_that_is_a_number_is_concealed_and_an_index_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLIENT_PASSWORD", "")  # to be removed after the test
    config = {"client": {"password": 12345678, "token": 5}}
    assert conceal_config(config) == {"client": {"password": "${oc.env:CLIENT_PASSWORD}", "token": 5}}


def test_settings_of_other_programs_are_masked_by_name_whatever_their_type():
    settings = {"db_password": 12345678, "api_key": ["a1b2", "c3d4"], "token": None, "secret": False, "lr": 0.1}
    masked = {"db_password": "***", "api_key": ["***", "***"], "token": None, "secret": False, "lr": 0.1}
    assert mask_settings(settings) == masked
