"""Rounds of chaos: a search runs, something is struck, the same command goes on; then the books are read.

A blow is kill -9 of the driver, a node, a trial's process or the MLflow server; SIGTERM of the driver ("term"); or a
pause of the driver, which another one takes over from, and which goes on then.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from pipeline.study.ledger import holder_of
from pipeline.study.store import Store, place_text
from tests.chaos.audit import STUDY, Audit, Running, audit, records, running, signs
from tests.chaos.machines import WORKERS, Nodes, Server, kill_group, start, wait_for
from tests.kit.ports import free_port
from tests.kit.toy import SHORT_CUT, write_task

VICTIMS = ("driver", "node", "trial", "mlflow", "pause", "term")
TAKEN_S = 120.0  # in which another driver takes over, and a paused one notices that it has
INTERRUPTED, LEASE_LOST = 130, 1  # exit codes of a driver
FIRST_TRIALS = 8
LATEST_S = 8.0  # after the round's first sign of life, the blow falls
MORE_TRIALS = 4  # that a study gets when it has ended before its rounds
SPACE = (
    SHORT_CUT
    + """
[tune_epochs]
low = 6
high = 12
default = 8
[recover_epochs]
low = 1
high = 4
default = 2
[rounds]
low = 1
high = 2
default = 1
[batch_size]
value = 8
"""
)


@dataclass(frozen=True)
class Round:
    """One blow."""

    number: int
    victim: str
    process: int
    after_s: float  # since the round's first sign of life
    ended: int  # trials, then
    running: tuple[Running, ...]  # then
    back_s: float  # until a trial was seen to be at work again
    note: str = ""


@dataclass
class State:
    """What is kept in rounds.json: chaos that is interrupted goes on."""

    seed: int
    port: int
    trials: int
    rounds: list[Round]
    seen: list[dict[int, int]]


@final
class Chaos:
    """A study, what it runs on, and whoever strikes it."""

    def __init__(
        self,
        folder: Path,
        *,
        victims: tuple[str, ...],
        seed: int,
        tracking: bool = True,
        store: str = "",
        ledger: str = "",
    ) -> None:
        """Start nodes and servers.

        Args:
            folder: for all that is written.
            victims: of each round, one of VICTIMS.
            seed: of the moments.
            tracking: whether an MLflow server is started.
            store: of the study; empty for a folder.
            ledger: its database; empty for the store's own.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.victims = folder, victims
        self.store = Store(Path(store) if store else folder / "store")
        self.ledger = ledger or f"sqlite:///{self.store.studies_db}"
        self._own_ledger = not ledger
        self.state = _read(folder, seed)
        self.task = folder / "task" / "task.toml"
        if not self.task.exists():
            write_task(folder / "task", rows=480)
            (folder / "task" / "chaos.toml").write_text(SPACE)
        self.nodes = Nodes(folder)
        self.server = Server(folder, self.state.port) if tracking else None
        self.driver: subprocess.Popen[bytes] | None = None

    @property
    def tracking(self) -> str:
        """Where the study is published."""
        return self.server.address if self.server else f"sqlite:///{self.store.mlflow_db}"

    def run(self, told: Callable[[Round], None]) -> Audit:
        """All rounds that are left, then the study's end, and its books."""
        try:
            if self.server is not None:
                wait_for(self.server.answers, "MLflow's server")
            for number in range(len(self.state.rounds), len(self.victims)):
                told(self._round(number))
            self._finish()
            blows = [each.running for each in self.state.rounds]
            return audit(
                self.store,
                self.ledger,
                self.tracking,
                trials=self.state.trials,
                seen=self.state.seen,
                interrupted=blows,
            )
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends all that was started here."""
        if self.driver is not None:
            kill_group(self.driver)
        self.nodes.stop()
        if self.server is not None:
            self.server.kill()

    def _round(self, number: int) -> Round:
        """Waits for a sign of life, strikes at a random moment, and puts the victim back."""
        chance = random.Random(f"{self.state.seed} {number}")
        notes: list[str] = []
        self._wait_for_life(notes)
        after = chance.uniform(0, LATEST_S)
        began = time.monotonic()
        while time.monotonic() - began < after:
            self._keep_going(notes)
            time.sleep(0.05)
        victim = self.victims[number]
        wait_for(lambda: self._keep_going(notes) and self._is_at_work(), "a trial at work")
        after = time.monotonic() - began
        seen, at_work = records(self.store), running(self.store)
        process = self._strike(victim, chance, notes)
        struck = time.monotonic()
        self._wait_for_life(notes)
        back = time.monotonic() - struck
        row = Round(number, victim, process, after, len(seen), at_work, back, "; ".join(notes))
        self.state.rounds.append(row)
        self.state.seen.append(seen)
        self._write()
        return row

    def _strike(self, victim: str, chance: random.Random, notes: list[str]) -> int:
        """Strike; what was killed is started again."""
        if victim == "pause":
            return self._pause(chance, notes)
        if victim == "term":
            assert self.driver is not None
            self.driver.terminate()
            if (code := self.driver.wait(TAKEN_S)) != INTERRUPTED:
                notes.append(f"SIGTERM: the driver ended with code {code}")
            process, self.driver = self.driver.pid, None
            return process
        if victim == "driver":
            assert self.driver is not None
            self.driver.kill()
            self.driver.wait()
            process, self.driver = self.driver.pid, None
        elif victim == "node":
            worker = chance.choice(WORKERS)
            process = self.nodes.running[worker].pid
            self.nodes.kill(worker)
            self.nodes.start(worker)
        elif victim == "trial":
            process = chance.choice(self.nodes.trials())
            os.kill(process, signal.SIGKILL)
        else:
            assert self.server is not None
            process = self.server.kill()
            self.server.start()
        return process

    def _pause(self, chance: random.Random, notes: list[str]) -> int:
        """The driver stands still, its trials go on; another one takes over; then the first goes on, and notices."""
        first = self.driver
        assert first is not None
        os.kill(first.pid, signal.SIGSTOP)
        try:
            second = start([*self._command(), "--take-over"], self.nodes.env, self.folder / "driver.log")
            self.driver = second

            def has_taken_over() -> bool:
                holder = holder_of(self.ledger, STUDY)
                return second.poll() is not None or (holder is not None and holder.pid == second.pid)

            wait_for(has_taken_over, "a take-over", seconds=TAKEN_S)
            time.sleep(chance.uniform(0, LATEST_S))
        finally:
            os.kill(first.pid, signal.SIGCONT)
        try:
            if (code := first.wait(TAKEN_S)) != LEASE_LOST:
                notes.append(f"the driver that was paused ended with code {code}")
        finally:
            kill_group(first)
        return first.pid

    def _wait_for_life(self, notes: list[str]) -> None:
        """Until a trial is seen to begin, to leave a checkpoint, or to end, from now on."""
        before = signs(self.store)
        wait_for(
            lambda: self._keep_going(notes) and signs(self.store) != before, "a sign of life", seconds=400
        )

    def _is_at_work(self) -> bool:
        """Whether a trial runs, as its folder and its process say."""
        return bool(running(self.store)) and bool(self.nodes.trials())

    def _keep_going(self, notes: list[str]) -> bool:
        """Starts nodes and the search if they do not run; a study that has ended gets more trials."""
        self.nodes.mend()
        if self.driver is not None and (code := self.driver.poll()) is not None:
            self.driver = None
            if code == 0:
                self.state.trials += MORE_TRIALS
                self._write()
            else:
                notes.append(f"the driver ended with code {code}")
        if self.driver is None:
            self.driver = start(self._command(), self.nodes.env, self.folder / "driver.log")
        return True

    def _finish(self) -> None:
        """Lets the study end, and MLflow get what it is owed."""
        if self.driver is not None and self.driver.wait(600) != 0:
            self.driver = None
        for _ in range(3):
            if self.driver is None:
                self.driver = start(self._command(), self.nodes.env, self.folder / "driver.log")
            code, self.driver = self.driver.wait(600), None
            if code == 0 and len(records(self.store)) == self.state.trials:
                break
        else:
            raise RuntimeError(f"The search did not end; see {self.folder / 'driver.log'}.")
        self.store.study(STUDY).refresh()
        if self.store.study(STUDY).outbox.read() is not None:
            sync = ["studies", "--sync", "--store", place_text(self.store.place), "--tracking", self.tracking]
            sync += [] if self._own_ledger else ["--ledger", self.ledger]
            subprocess.run(
                [sys.executable, "-m", "pipeline", *sync], env=self.nodes.env, check=True, timeout=300
            )

    def _command(self) -> list[str]:
        options = ["--task", self.task, "--space", self.task.parent / "chaos.toml", "--name", STUDY]
        options += [
            "--store",
            place_text(self.store.place),
            "--trials",
            self.state.trials,
            "--address",
            self.nodes.address,
        ]
        options += ["--latency-grid", "none", "--checkpoint-seconds", 0.3, "--concurrent", 2]
        options += ["--tracking", self.tracking] if self.server else []
        options += [] if self._own_ledger else ["--ledger", self.ledger]
        return [sys.executable, "-m", "pipeline", "search", *map(str, options)]

    def _write(self) -> None:
        whole = self.folder / "rounds.json.part"
        whole.write_text(json.dumps(asdict(self.state), indent=1))
        whole.replace(self.folder / "rounds.json")


def schedule(rounds: int, seed: int) -> tuple[str, ...]:
    """Whom each round strikes: all equally often, in a random order."""
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(rounds)]
    random.Random(seed).shuffle(victims)
    return tuple(victims)


def _read(folder: Path, seed: int) -> State:
    path = folder / "rounds.json"
    if not path.exists():
        return State(seed, free_port("127.0.0.1"), FIRST_TRIALS, [], [])
    kept = json.loads(path.read_text())
    rounds = [Round(**{**each, "running": tuple(map(_running, each["running"]))}) for each in kept["rounds"]]
    seen = [{int(number): when for number, when in each.items()} for each in kept["seen"]]
    return State(kept["seed"], kept["port"], kept["trials"], rounds, seen)


def _running(kept: dict[str, Any]) -> Running:
    return Running(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
    )
