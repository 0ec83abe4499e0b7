"""Real SSH between hosts made of namespaces."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from hosts import Host, wait_for_port

SSHD = "/usr/sbin/sshd"
CONFIGURATION = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/id_ed25519.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
"""


def why_no_ssh() -> str | None:
    """Why hosts cannot be reached over SSH here; None where they can."""
    missing = [tool for tool in (SSHD, "ssh", "ssh-keygen", "rsync") if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)} (tests/cluster/install.sh does it as root)" if missing else None


class SshKeys:
    """A key that opens all hosts on which :meth:`serve` was called."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        for name in ("host_key", "id_ed25519"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True, capture_output=True)
        (folder / "sshd_config").write_text(CONFIGURATION.format(folder=folder))

    @property
    def user_key(self) -> Path:
        return self.folder / "id_ed25519"

    def serve(self, host: Host) -> None:
        """Starts a server on a host, and waits until it listens."""
        host.popen([SSHD, "-D", "-f", self.folder / "sshd_config"], stderr=subprocess.DEVNULL)
        wait_for_port(host, 22)
