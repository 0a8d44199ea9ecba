"""What a person sees while a search runs: a live line on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.cli.output import err, percent
from pipeline.records import StudySpec, TrialRecord
from pipeline.sweep import Nobody, Standing, Watcher

REFRESH_PER_SECOND = 4


@contextmanager
def watch(*, quiet: bool) -> Iterator[Watcher]:
    """The watcher that fits: nobody if quiet, a live display on a terminal, else plain lines."""
    if quiet:
        yield Nobody()
        return
    watcher = Terminal(err)
    if not err.is_terminal:
        yield watcher
        return
    with Live(watcher, console=err, refresh_per_second=REFRESH_PER_SECOND, transient=True):
        yield watcher


class Terminal:
    """Prints what ends; on a terminal, below it, a live view of what runs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()
        self.what = "starting"
        self.standing: Standing | None = None
        self.ended_before = 0
        self.trials_since: float | None = None
        self.epochs: dict[int, dict[str, float]] = {}
        self.spinner = Spinner("dots", style="cyan")

    def stage(self, what: str) -> None:
        """Something that takes a while begins."""
        self.what = what
        self._print(f"[dim]{self._clock()}[/]  {what} …")

    def dense(self) -> None:
        """One of the dense networks is trained."""
        self._print(f"[dim]{self._clock()}[/]  … one of them is trained")

    def anchors(self, spec: StudySpec) -> None:
        """The anchors are known: trials begin."""
        anchors = spec.anchors
        self.what = f"study {spec.name}"
        self._print(
            f"[dim]{self._clock()}[/]  {self.what}: dense {spec.metric_name} {anchors.dense:.4f} at lr "
            f"{anchors.dense_learning_rate:g}, constant {anchors.constant:.4f}"
        )

    def heard(self, number: int, values: dict[str, float]) -> None:
        """A running trial has ended an epoch."""
        if "ended" in values:
            self.epochs.pop(number, None)
        else:
            self.epochs[number] = self.epochs.get(number, {}) | values

    def stands(self, standing: Standing, record: TrialRecord | None) -> None:
        """A trial has started or ended."""
        if self.trials_since is None:
            self.trials_since, self.ended_before = time.monotonic(), standing.ended
        self.standing = standing
        if record is None:
            return
        self.epochs.pop(record.number, None)
        point = record.recovered
        if record.state != "complete" or point is None:
            what = f"[red]{record.state}[/]: {record.reason}"
        else:
            what = f"{point.measurement.metric:.4f} at {percent(point.measurement.share)}"
            what += f"  [yellow]{record.reason}[/]" if record.reason else ""
        self._print(f"[dim]{self._clock()}[/]  trial {record.number:<3} {what}  [dim]│ {self._summary()}[/]")

    def warn(self, message: str) -> None:
        """Something went wrong that does not stop the search."""
        self._print(f"[yellow]{message}[/]")

    def __rich__(self) -> Table:
        """The live view: what is going on, then a line per running trial."""
        table = Table.grid(padding=(0, 1))
        head = self._summary() if self.standing is not None else self.what
        table.add_row(self.spinner, Text(f"{self._clock()}  {head}"))
        for number, values in sorted(self.epochs.items()):
            table.add_row("", Text(_trial_line(number, values), style="dim"))
        return table

    def _summary(self) -> str:
        now = self.standing
        if now is None:
            return ""
        parts = [f"{now.ended}/{now.total} trials", f"{now.running} running"]
        if now.failed:
            parts.append(f"{now.failed} failed")
        if now.front is not None and now.front.points:
            parts.append(f"front {len(now.front.points)}")
            parts.append(f"hypervolume {percent(now.front.hypervolume_normalised)}")
        left = self._seconds_left(now)
        if left is not None:
            parts.append(f"{_minutes(left)} left")
        return ", ".join(parts)

    def _seconds_left(self, now: Standing) -> float | None:
        """From the pace since the first start; None until a trial has ended."""
        done = now.ended - self.ended_before
        if self.trials_since is None or done <= 0 or now.ended >= now.total:
            return None
        return (time.monotonic() - self.trials_since) / done * (now.total - now.ended)

    def _clock(self) -> str:
        return _minutes(time.monotonic() - self.started)

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True)


def _trial_line(number: int, values: dict[str, float]) -> str:
    line = f"trial {number}: epoch {values.get('epoch', 0):.3g} of {values.get('epochs', 0):.3g}"
    for key, label in (("train_loss", "loss"), ("metric", "metric")):
        if key in values:
            line += f", {label} {values[key]:.3f}"
    return line


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
