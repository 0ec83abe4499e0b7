"""What leaves this machine in a tag, a parameter or a traceback names no home folder and no secret."""

import functools
import json
import os
import re
import urllib.parse
from collections.abc import Iterable

MASK = "***"
SHORTEST_SECRET = 8
"""Characters. Shorter values ("true", "8080") would be masked all over the text and protect nothing."""

SECRET_NAME = re.compile(
    r"TOKEN(?!I[SZ])|SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIAL|COOKIE|CONNECTION_STRING|(KEY|AUTH|PASS|(?<=_)PWD)S?(?![A-Z])",
    re.IGNORECASE,
)
"""Names of environment variables whose values are secret: API_KEY, AUTH_HEADER; not TOKENIZERS_PARALLELISM, AUTHOR, PWD."""

USER_INFORMATION = re.compile(r"//(?!\*\*\*@)[^\s/\"<>]+@")


def redact(text: str) -> str:
    """`text` without secrets: the home folder becomes `~`, the value of a secret environment variable (by its name; 8 characters
    or more) `***`, the user and password of a URL `//***@`. The rest is unchanged, and redacting twice changes nothing more."""
    redactor = _redactor(tuple(os.environ.items()))
    redacted = redactor(text)
    while redacted != text:
        text, redacted = redacted, redactor(redacted)
    return redacted


class _Redactor:
    def __init__(self, secrets: Iterable[str], homes: Iterable[str]) -> None:
        self.secrets = _any_of(secrets)
        self.homes = _any_of(homes, end=r"(?![\w-])")

    def __call__(self, text: str) -> str:
        # Secrets first: a secret that holds a part of the home's path must not be torn before it is found.
        if self.secrets:
            text = self.secrets.sub(MASK, text)
        if "@" in text:
            text = USER_INFORMATION.sub(f"//{MASK}@", text)
        return self.homes.sub("~", text) if self.homes else text


def _any_of(literals: Iterable[str], end: str = "") -> re.Pattern[str] | None:
    longest_first = sorted(set(literals), key=lambda literal: (-len(literal), literal))
    return re.compile(f"(?:{'|'.join(map(re.escape, longest_first))}){end}") if longest_first else None


@functools.lru_cache(maxsize=4)
def _redactor(environment: tuple[tuple[str, str], ...]) -> _Redactor:
    values = [value for name, value in environment if len(value.strip()) >= SHORTEST_SECRET and SECRET_NAME.search(name)]
    return _Redactor([spelling for value in values for spelling in _spellings(value)], _homes())


def _spellings(value: str) -> set[str]:
    """A secret as it is, and as it looks in a URL, in JSON and in a Python traceback."""
    quoted = urllib.parse.quote(value, safe="", errors="replace")
    return {value, value.strip(), quoted, json.dumps(value)[1:-1], repr(value)[1:-1]}


def _homes() -> list[str]:
    named = {os.path.expanduser("~"), os.environ.get("HOME", "")}
    paths = {path.rstrip("/\\") for path in named | {os.path.realpath(path) for path in named if path}}
    return [path for path in paths if len(path) > 1 and os.path.isabs(path)]
