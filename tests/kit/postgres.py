"""A PostgreSQL server of a test's own: made in a temporary folder, on 127.0.0.1, with passwords."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import RDBStorage

from tests.kit.ports import free_port

USER, PASSWORD = "prunefront", "pg-s3cr3t-word"


def binaries() -> Path | None:
    """Where the server's programs are; None if there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    here = shutil.which("initdb")
    return Path(here).resolve().parent if here else None


@dataclass(frozen=True)
class Server:
    """A server that may be stopped and started again."""

    folder: Path
    port: int
    programs: Path

    def url(self, database: str, *, password: str = "") -> str:
        return f"postgresql://{USER}{password and f':{password}'}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder}"
        self.run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")

    def stop(self) -> None:
        """At once, as if it had been killed."""
        self.run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def create(self, database: str) -> None:
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, database)

    def run(self, program: str, *arguments: str) -> None:
        env = os.environ | {"PGPASSWORD": PASSWORD, "LC_ALL": "C"}
        how: dict[str, Any] = {"env": env, "cwd": self.folder, "check": True, "timeout": 60} | _nobodys_root()
        # a server that is started keeps its output open: it is not ours to read
        subprocess.run([self.programs / program, *arguments], stdout=subprocess.DEVNULL, **how)


@contextmanager
def postgres() -> Iterator[Server]:
    """A running server without databases of ours."""
    programs = binaries()
    if programs is None:
        raise FileNotFoundError("There is no PostgreSQL server here: apt-get install postgresql.")
    with tempfile.TemporaryDirectory(prefix="pf-pg-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        who = _nobodys_root()
        if who:
            for path in (folder, folder / "password"):
                os.chown(path, who["user"], who["group"])
        server = Server(folder, free_port(), programs)
        server.run(
            "initdb",
            "-D",
            "data",
            "-U",
            USER,
            "--auth=scram-sha-256",
            "--pwfile=password",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        )
        server.start()
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")


def _nobodys_root() -> dict[str, int]:
    """The server refuses to be root's: it is that of Debian's own user for it, or of nobody."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid}
    return {}


def wait_for(true: Callable[[], object], seconds: float, why: Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            pytest.fail(why())
        time.sleep(0.1)


def check_ledger(server: Server, database: str, count: int) -> None:
    """All trials, each once."""
    storage = RDBStorage(server.url(database, password=PASSWORD).replace("://", "+psycopg://"))
    try:
        trials = storage.get_all_trials(storage.get_study_id_from_name("toy"))
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * count
    finally:
        storage.remove_session()
        storage.engine.dispose()
