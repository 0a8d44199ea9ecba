"""A search on a running Ray cluster whose worker node has an empty working folder and empty caches."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.machines import WORKERS, Nodes, wait_for
from tests.chaos.rounds import SPACE
from tests.kit.ports import free_port
from tests.kit.toy import command, environment, write_task

HEAD, WORKER = "127.0.0.2", "127.0.0.3"
RAY = str(Path(sys.executable).parent / "ray")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A head without cores, and a worker node that has nothing but the installed package. Token required."""
    with nodes(tmp_path) as found:
        yield found


@contextmanager
def nodes(tmp_path: Path, *, before_worker: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """The head's address, and the environment of who may talk to it; the worker is started by a command."""
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(16))
    token.chmod(0o600)
    env = environment() | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    empty = tmp_path / "empty"
    empty.mkdir()
    bare = env | {"HOME": str(empty), "HF_HOME": str(empty / "hub"), "XDG_CACHE_HOME": str(empty / "cache")}
    address = f"{HEAD}:{free_port(HEAD)}"
    short = Path("/tmp") / f"pf{secrets.token_hex(3)}"  # Ray's socket paths have 107 characters at most
    common = ["--block", "--object-store-memory=150000000"]
    head = [
        RAY,
        "start",
        "--head",
        f"--node-ip-address={HEAD}",
        f"--port={address.split(':')[1]}",
        "--num-cpus=0",
    ]
    head += ["--include-dashboard=false", f"--temp-dir={short}"]
    node = [
        *before_worker,
        RAY,
        "start",
        f"--address={address}",
        f"--node-ip-address={WORKER}",
        "--num-cpus=2",
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    processes = [subprocess.Popen([*head, *common], env=env, **quiet)]
    try:
        wait_for_port(address)
        processes.append(subprocess.Popen([*node, *common], env=bare, cwd=empty, **quiet))
        yield address, env
    finally:
        for process in reversed(processes):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for_port(address: str) -> None:
    host, port = address.split(":")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.2)
    pytest.fail("Ray's head did not start in a minute.")


@pytest.mark.long
def test_trials_run_on_a_node_that_has_nothing(
    cluster: tuple[str, dict[str, str]], tmp_path: Path, minilm: Path
) -> None:
    address, env = cluster
    task, store = write_task(tmp_path / "task", rows=120), tmp_path / "store"
    arguments = ["search", "--task", task, "--model", minilm, "--space", task.parent / "quick.toml"]
    arguments += ["--trials", "2", "--store", store, "--name", "toy", "--address", address, "--json"]
    run = subprocess.run(
        command(*arguments), capture_output=True, text=True, env=env, timeout=220, check=False
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["trials"] == 2
    assert found["left_out"] == {"failed": 0, "stopped": 0}
    assert not list((tmp_path / "empty").rglob("*.safetensors")), "the node fetched the model itself"
    asked = [sys.executable, "-c", HEAPS, address]
    heaps = subprocess.run(asked, capture_output=True, text=True, env=env, timeout=100, check=True)
    assert heaps.stdout == "['1']\n", "its processes have many heaps"


HEAPS = """
import os, sys
from pipeline.driver.execute import Resources, connect, run_each
with connect(Resources(address=sys.argv[1], concurrent=1), shared_bytes=0) as cluster:
    name = "MALLOC_ARENA_MAX"
    print(run_each(cluster, lambda _, name: os.environ.get(name), None, [name], done=lambda: None))
"""
BLIND = """
mount -t tmpfs tmpfs "$1" && shift && exec "$@"
"""


def aside(folder: Path) -> list[str]:
    """A command to start a process by to which a folder is another disk."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("Only root may give a process disks of its own.")
    return ["unshare", "--mount", "sh", "-c", BLIND, "sh", str(folder)]


@pytest.fixture
def blind(tmp_path: Path) -> Iterator[tuple[str, dict[str, str], Path]]:
    """A head without cores, and a worker node on which a folder is another disk, as on another machine."""
    folder = tmp_path / "shared"
    folder.mkdir()
    with nodes(tmp_path, before_worker=aside(folder)) as (address, env):
        yield address, env, folder


@pytest.mark.long
def test_a_store_that_a_node_does_not_see_is_refused_and_nothing_is_written(
    blind: tuple[str, dict[str, str], Path], tmp_path: Path
) -> None:
    address, env, folder = blind
    task = write_task(tmp_path / "task", rows=120)
    arguments = ["search", "--task", task, "--space", task.parent / "quick.toml", "--trials", "2"]
    arguments += ["--store", folder / "store", "--name", "toy", "--address", address]
    run = subprocess.run(
        command(*arguments), capture_output=True, text=True, env=env, timeout=220, check=False
    )
    assert run.returncode == 2, run.stderr
    said = " ".join(run.stderr.split())
    assert f"{WORKER} does not see" in said
    assert "a folder that all nodes share" in said
    assert not list(folder.iterdir())


@pytest.mark.long
def test_a_node_that_joins_without_seeing_the_store_ends_the_search(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    before = aside(folder)
    task, store = write_task(tmp_path / "task", rows=320), folder / "store"
    space = task.parent / "long.toml"
    space.write_text(SPACE)
    cluster = Nodes(tmp_path, WORKERS[:1])
    asked = [
        "search",
        "--task",
        task,
        "--space",
        space,
        "--trials",
        "12",
        "--store",
        store,
    ]
    asked += ["--name", "toy", "--address", cluster.address, "--latency-grid", "none", "--scheduler", "none"]
    try:
        first = subprocess.Popen(command(*asked), stderr=subprocess.PIPE, text=True, env=cluster.env)
        wait_for(lambda: list(store.rglob("record.json")), "a record")
        cluster.start(WORKERS[1], before)
        said = " ".join(first.communicate(timeout=150)[1].split())
        assert first.returncode == 1, said
        assert f"{WORKERS[1]}, which has joined since the start, does not see the store" in said
        assert "Traceback" not in said
    finally:
        cluster.stop()
    seen = subprocess.run(
        command("show", "toy", "--store", store, "--json"), capture_output=True, text=True, env=cluster.env
    )
    found = json.loads(seen.stdout)
    assert 1 <= found["trials"] < 12
    assert found["left_out"]["failed"] == 0, "the trial that came to it is owed, not lost"
