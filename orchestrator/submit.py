"""The entry for ``ray submit CLUSTER.yaml orchestrator/submit.py -- run search_spaces/x.yaml``: runs memsweep on the head.

``ray submit`` copies this file alone, and runs it there as ``python ~/submit.py …``: so it needs nothing but Python. It goes to
the folder that was shipped (``~/memsweep``), joins the cluster that runs there, with its token, and passes the exit status on (of
which ``ray submit`` makes 0 or 1).

``ray submit`` does not quote: what arrives here is what the head's shell made of the words. Arguments that need quotes are
refused.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path("~/memsweep")
"""Where the code and the search spaces lie on every node."""

JOINING = ("run", "resume")
"""The commands that take ``--address``."""

ONE_WORD = ("check", "plan", "run", "resume", "sync")
"""The commands that take one word besides options: a second one means that a quoted argument was taken apart."""

FLAGS = ("--all", "--help", "--json", "--or-resume", "--take-over", "--yes")
"""The options without a value."""

CURE = (
    "`ray submit` passes arguments unquoted through a shell. Use `memsweep submit --cluster CLUSTER.yaml -- …` or "
    "`ray job submit … -- python -m orchestrator …`, which pass them whole"
)


class TakenApart(ValueError):
    """An argument needs quotes, or lost them on the way."""


def refuse_what_needs_quotes(arguments: Sequence[str]) -> None:
    """Accepts only words that a shell passes on as they are.

    Raises:
        TakenApart: one is not such a word, or there are more of them than the command takes.
    """
    for word in arguments:
        if shlex.quote(word) != word:
            raise TakenApart(f"the argument {word!r} needs quotes: {CURE}")
    extra = words(arguments)[2:] if arguments and arguments[0] in ONE_WORD else []
    if extra:
        raise TakenApart(f"`{arguments[0]}` takes one argument, so {extra[0]!r} seems to be a part of a quoted one: {CURE}")


def words(arguments: Sequence[str]) -> list[str]:
    """The arguments that are neither options nor their values; the first is the command."""
    found, is_value = [], False
    for word in arguments:
        if word.startswith("-"):
            is_value = "=" not in word and word not in FLAGS
        elif is_value:
            is_value = False
        else:
            found.append(word)
    return found


def with_address(arguments: Sequence[str]) -> list[str]:
    """The arguments, joining the cluster of the machine that they reach, where the command joins one and names none."""
    named = any(word == "--address" or word.startswith("--address=") for word in arguments)
    joins = bool(arguments) and arguments[0] in JOINING and not named
    return [*arguments, "--address", "auto"] if joins else list(arguments)


def main(arguments: Sequence[str]) -> int:
    """Becomes ``python -m orchestrator …``; returns only when that cannot be, with status 2."""
    folder = FOLDER.expanduser()
    try:
        refuse_what_needs_quotes(arguments)
        os.chdir(folder)
    except TakenApart as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        told = (
            f"{folder}: {error.strerror}; `ray up CLUSTER.yaml` puts the code there; `memsweep submit --cluster` needs none of it"
        )
        print(f"error: {told}", file=sys.stderr)
        return 2
    os.environ["RAY_AUTH_MODE"] = "token"
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "orchestrator", *with_address(arguments)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
