"""What chaos strikes: three Ray nodes, an MLflow server, and the processes of trials. All are started here."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from tests.kit.ports import free_port

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).parent / "ray")
HEAD, WORKERS = "127.0.0.2", ("127.0.0.3", "127.0.0.4")
READY_S = 180.0
TRIAL = b"ray::Implicit"  # how Ray calls a process with a function of Tune's


def start(command: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A process with its children in a group of its own."""
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=env, cwd=ROOT, start_new_session=True)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a process that `start` gave, and of its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@final
class Nodes:
    """A Ray cluster on loopback addresses, with a token: a head without cores, and workers of one core each."""

    def __init__(self, folder: Path, workers: tuple[str, ...] = WORKERS) -> None:
        token = folder / "token"
        if not token.exists():
            token.write_text(secrets.token_hex(16))
            token.chmod(0o600)
        self.folder = folder
        self.env = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_worker_niceness": "0",  # else whatever runs beside it starves it
        }
        self.address = f"{HEAD}:{free_port(HEAD)}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.session = Path(
            f"/tmp/pf{secrets.token_hex(3)}"
        )  # Ray's socket paths have 107 characters at most
        self._begin(
            HEAD,
            [
                "--head",
                f"--port={self.address.split(':')[1]}",
                "--num-cpus=0",
                f"--temp-dir={self.session}",
                "--include-dashboard=false",
            ],
        )
        wait_for(self._answers, "Ray's head")
        for worker in workers:
            self.start(worker)

    def start(self, worker: str, before: Sequence[str] = ()) -> None:
        """Starts a worker node, or starts it again; a command may start it."""
        self._begin(worker, [f"--address={self.address}", "--num-cpus=1"], before)

    def mend(self) -> None:
        """Starts worker nodes again that did not come up: on a busy machine Ray gives up on its own raylet."""
        for worker in WORKERS:
            if self.running[worker].poll() is not None:
                self.start(worker)

    def kill(self, worker: str) -> None:
        """kill -9 of a node: its raylet, whose workers die with it."""
        kill_group(self.running.pop(worker))

    def cache(self, host: str) -> Path:
        """A node's own cache folder: nodes share no more than a store."""
        return self.folder / f"cache-{host}"

    def trials(self) -> list[int]:
        """Processes of our nodes that run trials now."""
        mark = f"RAY_AUTH_TOKEN_PATH={self.env['RAY_AUTH_TOKEN_PATH']}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                runs = folder.name.isdecimal() and (folder / "cmdline").read_bytes().startswith(TRIAL)
                if runs and mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return sorted(found)

    def stop(self) -> None:
        """Ends the cluster, workers first, and removes what Ray wrote of it."""
        for process in reversed(list(self.running.values())):
            kill_group(process)
        shutil.rmtree(self.session, ignore_errors=True)

    def _begin(self, host: str, options: list[str], before: Sequence[str] = ()) -> None:
        common = ["--block", "--object-store-memory=150000000"]
        command = [*before, RAY, "start", f"--node-ip-address={host}", *options, *common]
        env = self.env | {"XDG_CACHE_HOME": str(self.cache(host))}
        self.running[host] = start(command, env, self.folder / f"node-{host}.log")

    def _answers(self) -> bool:
        host, port = self.address.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0


@final
class Server:
    """An MLflow server on sqlite, always at the same address."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.address = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Starts it, or starts it again; it answers some seconds later."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        env = os.environ | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self._process = start(command, env, self.folder / "server.log")

    def kill(self) -> int:
        """kill -9 of it and its workers; gives its process number."""
        if self._process is None:
            return 0
        kill_group(self._process)
        process, self._process = self._process.pid, None
        return process

    def answers(self) -> bool:
        """Whether it takes requests."""
        with suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


def wait_for(until: Any, what: str, *, seconds: float = READY_S) -> None:
    """Until something is so.

    Raises:
        TimeoutError: it never was.
    """
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)
