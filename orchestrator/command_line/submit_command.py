"""``submit``: sends a command with its files to a cluster, shows what goes there first, and brings its exit status back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.command_line.errors import WRONG_INPUT, interruptible

if TYPE_CHECKING:
    from orchestrator.shipping import Shipment

_NOT_THERE = ("submit", "ui")
"""Commands that make no sense on a head."""


def register(app: typer.Typer) -> None:
    # What stands behind the command belongs to it, with or without `--`.
    app.command("submit", context_settings={"allow_interspersed_args": False})(interruptible(submit))


def submit(
    context: typer.Context,
    arguments: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND…", help="what to run there, such as: run SPACE.yaml", show_default=False)
    ],
    cluster: Annotated[
        Path | None, typer.Option("--cluster", metavar="FILE.yaml", help="a cluster that `ray up` started: over SSH")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="URL", help="the dashboard of a head: as a job, whatever becomes of the connection"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="never ask before files are sent")] = False,
) -> int:
    """Sends code, search spaces and the files that these name to a cluster, and runs a command there. Lists them first."""
    from orchestrator.command_line.progress import is_interactive
    from orchestrator.shipping import ShippingError, named_files, run_as_job, run_over_ssh, select_files

    try:
        _refuse_mistakes(context, arguments, cluster, address)
        root = Path.cwd()
        shipment = select_files(root, named_files(arguments, root))
        if not _agreed(shipment, yes or not is_interactive()):
            return WRONG_INPUT
        with shipment.staged() as staged:
            if cluster is not None:
                return run_over_ssh(cluster, staged, arguments, has_terminal=is_interactive())
            return run_as_job(str(address), staged, arguments)
    except ShippingError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT


def _refuse_mistakes(context: typer.Context, arguments: list[str], cluster: Path | None, address: str | None) -> None:
    """Finds on this side what would fail on the other.

    Raises:
        ShippingError: the command cannot be sent.
    """
    from orchestrator.shipping import ShippingError

    if (cluster is None) == (address is None):
        told = "give --cluster FILE.yaml (started with `ray up`) or --address URL (of a dashboard), and not both"
        raise ShippingError(f"{told}; before the command: memsweep submit --cluster FILE.yaml -- {arguments[0]} …")
    if cluster is not None and not cluster.is_file():
        raise ShippingError(f"there is no cluster file {cluster}: name the one that was given to `ray up`")
    if address is not None and not address.startswith(("http://", "https://")):
        raise ShippingError(f"--address {address}: write the URL of the dashboard, such as http://127.0.0.1:8265")
    values = _values(context, arguments)
    space = values.get("space")
    if space is not None and not Path(space).is_absolute() and not Path(space).is_file():
        raise ShippingError(f"there is no {space} here to be sent: name a file below this folder")
    storage = str(values.get("storage", "/"))
    if address is not None and not storage.startswith("/") and "://" not in storage:
        cure = "give --storage with an absolute path that all nodes share, or a bucket"
        raise ShippingError(f"a job runs in a folder that Ray removes, and the sweep with it if it lies in {storage}: {cure}")


def _values(context: typer.Context, arguments: list[str]) -> dict[str, Any]:
    """The values of the options of the command that is sent; its own mistakes are reported as if it were run here."""
    from orchestrator.shipping import ShippingError

    group: Any = context.find_root().command
    name = arguments[0]
    if name in _NOT_THERE or name not in group.commands:
        known = ", ".join(sorted(set(group.commands).difference(_NOT_THERE)))
        raise ShippingError(f"there is no command `{name}` to submit: there are {known}")
    made = group.commands[name].make_context(name, arguments[1:], parent=context.find_root())
    return dict(made.params)


def _agreed(shipment: Shipment, sure: bool) -> bool:
    print(shipment.listing(), file=sys.stderr)
    shipment.refuse_too_much()
    return sure or typer.confirm("send them?", err=True)
