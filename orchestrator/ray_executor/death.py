"""Why a worker process died, as far as Ray's message tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from trainables.heartbeat import Sender
from trainables.redaction import redact

LONGEST_REASON = 500
"""Characters of a reason that are kept."""

_DETAIL = re.compile(r"Worker exit type: (?P<type>\w+) Worker exit detail: (?P<detail>[^\n]*)")
_GUESSES = re.compile(r"\s*Some common causes include:.*", re.DOTALL)
_CONNECTION_ENDED = re.compile(r"Worker unexpectedly exits with a connection error code \d+\. End of file\.")
_OUT_OF_MEMORY = re.compile(r"OutOfMemoryError|killed due to the node running low on memory|memory usage threshold")
_SELECTED = re.compile(r"Selected to kill: \([^\n]*?\bpid=(\d+)")
_REPLACED = "exit_actor() is called"
_MACHINE_LOST = re.compile(
    r"[^\n]*(?:its node has died|node was terminated|died by preemption|node it was running on is dead|local raylet died)[^\n]*"
    r"(?:\n\t(?P<why>the actor's node was [^\n]*))?"
)
"""In Ray's words a node is terminated expectedly (it was stopped), unexpectedly (it gave no sign of life) or is preempted."""


@dataclass(frozen=True, slots=True)
class Death:
    """``oom``: Ray's memory monitor killed it. ``replaced``: it asked for a fresh process itself. ``lost``: its machine is gone,
    or out of reach. ``died``: all else, for all that is known; the machine may turn out to be gone later."""

    cause: Literal["died", "oom", "replaced", "lost"]
    reason: str
    text: str = ""
    """All that Ray said."""

    def concerns(self, sender: Sender) -> bool:
        """Whether Ray's memory monitor names the process as one that it killed."""
        return self.cause == "oom" and sender.node in self.text and str(sender.pid) in _SELECTED.findall(self.text)


def read_death(text: str | None) -> Death:
    """Takes the text of the exception that Ray raised for a task of the process (without it, nothing is known).

    Ray cannot tell SIGKILL, SIGSEGV and ``os._exit`` apart: in each the connection ends. Its guesses are left out.
    """
    if not text:
        return Death("died", "for no reason that is known")
    if _OUT_OF_MEMORY.search(_GUESSES.sub("", text)):
        return Death("oom", _shortened(_memory_line(text)), text)
    if _REPLACED in text:
        return Death("replaced", "the process asked to be replaced")
    if lost := _MACHINE_LOST.search(text):
        return Death("lost", _shortened(lost["why"] or lost[0]))
    found = _DETAIL.search(text)
    if found is None:
        return Death("died", _shortened(_last_failure(text)))
    detail = _GUESSES.sub("", found["detail"])
    if _CONNECTION_ENDED.fullmatch(detail.strip()):
        detail = "it was killed by a signal, crashed, or left without a word"
    return Death("died", _shortened(f"{detail} ({found['type']})"))


def _memory_line(text: str) -> str:
    line = next(line for line in text.splitlines() if _OUT_OF_MEMORY.search(line))
    return line.removeprefix("Caught unexpected exception: ")


def _last_failure(text: str) -> str:
    """The first line of the last failure in a file in which Tune notes one after another."""
    last = re.split(r"^Failure # \d+ .*$", text, flags=re.MULTILINE)[-1]
    return next((line for line in last.splitlines() if line.strip()), "")


def _shortened(reason: str) -> str:
    return redact(" ".join(reason.split()))[:LONGEST_REASON]
