import os
import string
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.redaction import MASK, redact

HOME = "/home/ann"
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=30).filter(
    lambda text: set(text) != {"*"}
)
SECRET_NAMES = st.sampled_from(["API_KEY", "MLFLOW_TRACKING_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY", "X_AUTH", "DB_PWD"])
PLAIN_TEXT = st.text(st.sampled_from(string.ascii_letters + string.digits + " .,=\n-_/"), max_size=80)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    with mock.patch.dict(os.environ, {"HOME": HOME, **variables}, clear=True):
        yield


@given(SECRET_NAMES, SECRETS, st.text(max_size=40), st.text(max_size=40))
def test_a_planted_secret_never_survives(name: str, secret: str, before: str, after: str) -> None:
    with environment(**{name: secret}):
        assert secret not in redact(before + secret + after)
        assert secret not in redact(f"{before}{secret}{secret}{after}{secret}")


@given(SECRETS, st.text(max_size=20), st.text(max_size=60))
def test_redacting_twice_changes_nothing_more(secret: str, start: str, end: str) -> None:
    with environment(API_KEY=secret):
        once = redact(f"{start}{HOME}/x {secret} //{start}@{end}")
        assert redact(once) == once


@given(PLAIN_TEXT)
def test_text_without_secrets_is_unchanged(text: str) -> None:
    with environment(API_KEY="@@never-there@@"):
        assert redact(text) == text


@given(PLAIN_TEXT.filter(lambda text: not text[:1].isalnum() and text[:1] not in ("-", "_")))
def test_the_home_folder_never_survives(after: str) -> None:
    with environment():
        assert redact(f"at {HOME}{after}") == f"at ~{after}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'File "{HOME}/sweeps/a.py", line 3', 'File "~/sweeps/a.py", line 3'),
        (f"sqlite:///{HOME}/mlflow.db", "sqlite:///~/mlflow.db"),
        (f"-I{HOME}/include", "-I~/include"),
        ("/home/anna/x and /home/ann-2", "/home/anna/x and /home/ann-2"),
        ("http://ann:pass@host:5000/x", f"http://{MASK}@host:5000/x"),
        ("http://ann:p@ss@host", f"http://{MASK}@host"),
        ("https://a-token@host/x and me@there", f"https://{MASK}@host/x and me@there"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("models:/name@alias", "models:/name@alias"),
    ],
)
def test_paths_and_urls_are_redacted(text: str, expected: str) -> None:
    with environment():
        assert redact(text) == expected


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "GIT_AUTHOR_NAME", "PWD", "OLDPWD", "KEYBOARD", "PATH", "HOSTNAME"])
def test_variables_that_are_no_secret_are_kept(name: str) -> None:
    with environment(**{name: "harmless-value"}):
        assert redact("a harmless-value") == "a harmless-value"


def test_a_short_value_of_a_secret_variable_is_kept() -> None:
    with environment(AUTH_TOKEN="true"):
        assert redact("it is true") == "it is true"


@pytest.mark.parametrize("shown", ["{!r}", "{}"])
def test_a_secret_is_found_as_it_looks_in_a_traceback(shown: str) -> None:
    secret = "tab\tand'quote\\backslash"
    with environment(API_SECRET=secret):
        assert "backslash" not in redact(shown.format(secret)) and "backslash" not in redact(shown.format([secret]))


def test_a_secret_is_found_as_it_looks_in_a_url() -> None:
    with environment(API_SECRET="pass word/9:x"):
        assert redact("http://host/?key=pass%20word%2F9%3Ax") == f"http://host/?key={MASK}"


def test_a_secret_that_holds_the_home_folder_is_masked_as_a_whole() -> None:
    with environment(SSH_KEY=f"/mnt{HOME}/the-key"):
        assert redact(f"/mnt{HOME}/the-key") == MASK


def test_no_home_masks_nothing() -> None:
    with environment(HOME="/"):
        assert redact("/tmp/x / y") == "/tmp/x / y"


def test_a_changed_environment_is_seen_at_once() -> None:
    with environment(API_KEY="first-secret"):
        assert redact("first-secret second-secret") == f"{MASK} second-secret"
    with environment(API_KEY="second-secret"):
        assert redact("first-secret second-secret") == f"first-secret {MASK}"
