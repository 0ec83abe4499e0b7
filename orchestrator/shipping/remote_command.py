"""The command line for the head, quoted as a whole, and its exit status in what comes back."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.submit import with_address

FOLDER = "~/memsweep-submitted"
"""On the head, and not where ``ray up`` puts files: a worker that had this folder, too, would run what lies in its own."""


def entrypoint(arguments: Sequence[str]) -> str:
    """The shell command that runs memsweep on the cluster whose machine it is typed on; every argument arrives as it is here."""
    return shlex.join(["python", "-m", "orchestrator", *with_address(arguments)])


@dataclass(frozen=True)
class RemoteCommand:
    """A command for ``ray exec``, which makes 1 of every exit status but 0: so the last line that it prints tells the real one.

    Attributes:
        arguments: of memsweep.
        has_terminal: whether somebody sits in front of it; otherwise nothing on the head asks, for nobody would answer.
        mark: what the last line begins with; nobody can know it beforehand.
    """

    arguments: Sequence[str]
    has_terminal: bool
    mark: str = field(default_factory=lambda: f"memsweep-{secrets.token_hex(8)} ended with ")

    @property
    def line(self) -> str:
        """For the head's shell."""
        silent = "" if self.has_terminal else " < /dev/null"
        tidied = f"cd {FOLDER} && python orchestrator/shipping/received.py"
        run = f"RAY_AUTH_MODE=token {entrypoint(self.arguments)}{silent}"
        return f"{{ {tidied} && {run}; }}; printf '\\n%s%s\\n' {shlex.quote(self.mark)} $?"


@dataclass
class Output:
    """What a remote command prints, piece by piece: what is for the person, and the exit status from its last line."""

    mark: str
    status: int | None = None
    _held: str = ""

    def feed(self, text: str) -> str:
        """Takes a piece; returns what can be shown: all but a line that is, or may become, the last one."""
        text = self._held + text
        self._held = ""
        shown = []
        for line in text.splitlines(keepends=True):
            found = re.match(re.escape(self.mark) + r"(\d+)\r?\n", line)
            if found:
                self.status = int(found[1])
            elif not line.endswith("\n") and (self.mark.startswith(line) or line.startswith(self.mark)):
                self._held = line
            else:
                shown.append(line)
        return "".join(shown)

    def rest(self) -> str:
        """What was held back in vain, when the output has ended."""
        held, self._held = self._held, ""
        return held
