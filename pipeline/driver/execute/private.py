"""What Ray writes on this machine is the user's alone: its token, and the folder of its sessions.

A local Ray listens on all interfaces, whatever address it is given; its token is what keeps others out. Ray writes the
token for everyone on the machine to read, and its sessions into a folder that everyone may write to.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

MODE, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"
OPEN = (
    f"{MODE} is disabled: anyone who reaches this machine over the network, or works on it, can run code as you "
    "while the search runs. Leave it unset, or set it to token."
)


def is_open() -> bool:
    """Return whether the environment turns Ray's token off."""
    return os.environ.get(MODE, "").lower() == "disabled"


def keep_token() -> None:
    """Let only the user read Ray's token, which is made if there is none; below the session's folder without a home."""
    named = os.environ.get(TOKEN_PATH)
    try:
        _keep(Path(named) if named else Path.home() / ".ray" / "auth_token")
    except (OSError, RuntimeError):
        folder = None if named else session_folder()
        if folder is not None:  # else Ray says what is wrong
            os.environ[TOKEN_PATH] = str(Path(folder) / "auth_token")
            _keep(Path(folder) / "auth_token")


def _keep(path: Path) -> None:
    """Make the token of a path, or make it the user's alone.

    Raises:
        OSError: the path cannot be written, or is another user's.
    """
    if path.exists():
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(secrets.token_hex(32))


def session_folder() -> str | None:
    """Return a folder for Ray's sessions that only the user may enter; None if the environment names one."""
    if os.environ.get("RAY_TMPDIR"):
        return None
    folder = Path(os.environ.get("TMPDIR") or "/tmp") / f"prunefront-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_folder = not folder.is_symlink() and folder.is_dir()
    if not is_folder or found.st_uid != os.getuid():  # another user was here first
        return tempfile.mkdtemp(prefix="prunefront-", dir=folder.parent)
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return str(folder)
