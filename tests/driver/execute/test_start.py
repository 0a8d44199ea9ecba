"""Ray's start: what the machine does not allow, addresses where nothing answers; no Ray is started here."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from pipeline.cli.outside_errors import outside_cause
from pipeline.driver.execute import RayNotStarted, start
from pipeline.driver.execute.private import session_folder
from pipeline.study.records import BadInput

SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


def serve(answer: bytes) -> tuple[str, threading.Thread]:
    """A server of one connection, which answers to anything."""
    listening = socket.create_server(("127.0.0.1", 0))

    def once() -> None:
        connection, _ = listening.accept()
        with connection, listening:
            connection.recv(100)
            connection.sendall(answer)

    thread = threading.Thread(target=once, daemon=True)
    thread.start()
    return f"127.0.0.1:{listening.getsockname()[1]}", thread


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Ray is started with; nothing starts."""
    calls: list[dict[str, Any]] = []

    def init(**options: Any) -> None:
        calls.append(options | {"cwd": str(Path.cwd()), "RAY_ADDRESS": os.environ.get("RAY_ADDRESS")})

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return calls


def test_ray_here_is_apart_from_others_and_from_the_working_folder(
    started: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    monkeypatch.chdir(tmp_path)
    with start.ray_here(num_cpus=2):
        (call,) = started
        assert (call["address"], call["RAY_ADDRESS"], call["num_cpus"]) == ("local", None, 2)
        assert call["_temp_dir"] == session_folder(), "its sessions are the user's alone"
        assert Path(call["cwd"]) != tmp_path
        assert list(Path(call["cwd"]).iterdir()) == [], "it is there for Ray's workers as long as they run"
        assert Path.cwd() == tmp_path
    assert not Path(call["cwd"]).exists()
    assert os.environ["RAY_ADDRESS"] == "127.0.0.1:6379"


def test_a_long_folder_for_temporary_files_is_replaced_for_ray(
    started: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("job_" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with start.ray_here():
        folder = Path(started[0]["_temp_dir"])
        assert folder.is_dir()
        assert len(str(folder) + start.SESSION) <= 107
    assert not folder.exists()


def test_ray_is_started_once_more_and_then_the_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def init(**options: Any) -> None:
        tried.append(options)
        raise Exception("The current node timed out during startup.\nmore")

    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(RayNotStarted, match=r"timed out during startup.*may be busy") as raised,
        start.ray_here(),
    ):
        pytest.fail("it has not started")
    assert len(tried) == 2
    assert outside_cause(raised.value) == str(raised.value)


def test_a_start_that_hangs_ends_with_the_message() -> None:
    """Ray waits inside its library and holds Python's lock, as the call of ctypes does here."""
    script = (
        "import ctypes, sys, types\n"
        "from pipeline.driver.execute import start\n"
        "start.START_S = 0.3\n"
        "sys.modules['ray'] = types.SimpleNamespace(init=lambda **_: ctypes.PyDLL(None).sleep(60))\n"
        "with start.ray_here():\n"
        "    print('started')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "Ray does not start on this machine (TimeoutError: it did not come up in 0 s). The machine may be"
        in (done.stderr)
    )
    assert "Traceback" not in done.stderr


def test_too_few_open_files_are_refused(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    with pytest.raises(BadInput, match=r"256 files may be open here.*ulimit -n"), start.ray_here():
        pytest.fail("it has not started")
    assert started == []


def test_more_open_files_are_allowed_where_they_may_be(
    started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    with start.ray_here():
        assert limits == [(4096, 4096)]
    assert len(started) == 1


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nosuchhost.invalid:6379", "[::1]:1"]
)
def test_nothing_at_an_address_is_refused_at_once(address: str, started: list[dict[str, Any]]) -> None:
    before = time.monotonic()
    with (
        pytest.raises(BadInput, match=r"No Ray cluster answers at .*ray start --head"),
        start.ray_at(address),
    ):
        pytest.fail("it has not joined")
    assert time.monotonic() - before < 2 * start.ANSWER_S
    assert started == []


def test_a_server_that_is_not_ray_s_is_refused(started: list[dict[str, Any]]) -> None:
    address, thread = serve(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(BadInput, match="nothing of Ray's"), start.ray_at(address):
        pytest.fail("it has not joined")
    thread.join()
    assert started == []


@pytest.mark.parametrize("before", ["", "ray://"])
def test_a_server_that_speaks_as_ray_does_is_joined(before: str, started: list[dict[str, Any]]) -> None:
    address, thread = serve(SETTINGS)
    with start.ray_at(before + address, logging_level="ERROR"):
        assert [call["address"] for call in started] == [before + address]
    thread.join()
