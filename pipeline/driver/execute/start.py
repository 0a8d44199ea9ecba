"""Ray on this machine, or a running cluster: started, or joined, or said why not."""

from __future__ import annotations

import faulthandler
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.driver.execute.private import session_folder
from pipeline.study.records import BadInput

SOCKET_BYTES = 107  # of a socket's path, on Linux
SESSION = "/ray/session_2026-11-30_10-15-10_123456_1234567/sockets/plasma_store.1"  # below Ray's folder: the longest
PRIVATE = "/prunefront-1000000"  # about the name of `session_folder`
LEAST_FILES, ENOUGH_FILES = 512, 65_536  # that a process may have open
START_S = 200.0  # for Ray to come up or to fail, also on a busy machine
SAY_S = 1.0  # for the shell
WATCH = 'for i in $(seq "$2"); do sleep 1; kill -0 "$1" 2>/dev/null || exit; done; printf "%s\\n" "$3" >&2'
# Ray's own processes that serve none of ours: copying of logs, scaling of a cluster, the dashboard
SPARE = ("start_log_monitor", "start_monitor", "start_api_server")
ANSWER_S = 5.0  # for a cluster to answer at its address
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(
    (0, 0, 0, 4, 0, 0, 0, 0, 0)
)  # the preface, and empty SETTINGS
SETTINGS_FRAME = 4


class RayNotStarted(RuntimeError):  # noqa: N818 (a fact, not a fault of the program)
    """Ray does not start on this machine."""


@contextmanager
def ray_here(**options: Any) -> Iterator[None]:
    """Start Ray on this machine, apart from any that runs here already; end it at the end.

    `options`: of `ray.init`.

    Raises:
        BadInput: the machine's limits do not allow it.
        RayNotStarted: it did not come up, twice. Where it hangs, the process ends with the same message.
    """
    import ray

    _check_files()
    with _short_folder() as folder, _empty_folder() as empty:
        options |= {"_temp_dir": session_folder() if folder is None else folder}
        for attempt in (1, 2):
            try:
                with _standing_in(empty), _without("RAY_ADDRESS"), _in_time(), _no_spare_processes():
                    ray.init(address="local", **options)
                break
            except Exception as error:  # Ray has no class for this
                ray.shutdown()
                if attempt == 2:
                    raise RayNotStarted(_why(error)) from error
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def ray_at(address: str, **options: Any) -> Iterator[None]:
    """Join a running cluster; leave it at the end.

    Raises:
        BadInput: no cluster answers.
    """
    import ray

    if not _answers(address):
        raise _no_answer(address, f"within {ANSWER_S:.0f} s nothing of Ray's does there")
    with _empty_folder() as empty:
        try:
            with _standing_in(empty):
                ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _no_answer(address, (str(error).splitlines() or [type(error).__name__])[0]) from error
        try:
            yield
        finally:
            ray.shutdown()


def _no_answer(address: str, why: str) -> BadInput:
    return BadInput(
        f"No Ray cluster answers at {address!r} ({why.rstrip('.')}). Start one with `ray start "
        "--head`, or leave --address out."
    )


@contextmanager
def _in_time() -> Iterator[None]:
    """End this process if Ray hangs as it starts, with one message; Ray's processes end with it.

    It waits inside its library then and holds Python's lock: no exception and no thread of ours gets through. So a
    shell says the message, and faulthandler, which needs no lock, ends the process. No trial has been begun by then.
    """
    message = _why(TimeoutError(f"it did not come up in {START_S:.0f} s"))
    command = ["sh", "-c", WATCH, "sh", str(os.getpid()), str(round(START_S)), message]
    with (
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as shell,
        Path(os.devnull).open("w") as nowhere,
    ):
        faulthandler.dump_traceback_later(START_S + SAY_S, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            shell.kill()


def _why(error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0].rstrip(".")
    return (
        f"Ray does not start on this machine ({type(error).__name__}: {line}). The machine may be busy, or short of "
        "memory or of files that may be open (`ulimit -n`). Give the same command again, later or with less beside it."
    )


def _answers(address: str) -> bool:
    """Return whether a gRPC server, as Ray's, is at HOST:PORT or ray://HOST:PORT; what has no port is Ray's to find."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or os.environ.get("RAY_USE_TLS", "0") != "0":
        return True
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S) as connection:
            connection.settimeout(ANSWER_S)
            connection.sendall(HTTP2)
            frame = connection.recv(9)
    except (OSError, OverflowError, UnicodeError):
        return False
    return len(frame) > 3 and frame[3] == SETTINGS_FRAME


def _check_files() -> None:
    """Allow this process, and Ray's that inherit it, more open files; refuse where there are too few.

    Raises:
        BadInput: the hard limit is too low.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    if soft != resource.RLIM_INFINITY and soft < LEAST_FILES:
        raise BadInput(
            f"{soft} files may be open here, and Ray needs {LEAST_FILES} or more. Raise the limit: "
            "`ulimit -n 4096`, or ask who set it."
        )


@contextmanager
def _short_folder() -> Iterator[str | None]:
    """Yield a folder for Ray's sockets where TMPDIR is too long for them; None where it is not.

    Raises:
        BadInput: no other folder can be written.
    """
    usual = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(usual + PRIVATE + SESSION)) <= SOCKET_BYTES:
        yield None
        return
    try:
        folder = tempfile.mkdtemp(prefix="pf-", dir="/tmp")
    except OSError as error:
        raise BadInput(
            f"TMPDIR is too long for Ray's sockets, whose paths have at most {SOCKET_BYTES} bytes: "
            f"{usual}. Set TMPDIR to a shorter folder."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _empty_folder() -> Iterator[Path]:
    """Yield a folder for Ray's processes to work in: modules in their working folder come before the libraries."""
    with tempfile.TemporaryDirectory(prefix="prunefront-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _standing_in(folder: Path) -> Iterator[None]:
    try:
        before = Path.cwd()
    except OSError:  # it was removed
        before = Path("/")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _no_spare_processes() -> Iterator[None]:
    """Let Ray start no process of SPARE: each takes half a second of a core, and the search waits for their end."""
    try:
        from ray._private.node import Node
    except ImportError:  # elsewhere in another version of Ray: they are started
        yield
        return
    usual = {name: getattr(Node, name) for name in SPARE if hasattr(Node, name)}
    for name in usual:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in usual.items():
            setattr(Node, name, method)


@contextmanager
def _without(name: str) -> Iterator[None]:
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value
