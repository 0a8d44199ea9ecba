"""The progress of a search on stderr: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.cli.live_view import Pace, body, clock
from pipeline.cli.output import err, styled
from pipeline.cli.resizing import KEPT, ResizingLive
from pipeline.cli.time_left import Clock
from pipeline.driver.search.watcher import NEVER, Preview, SearchProgress, SilentWatcher, Watcher
from pipeline.fronts.numbers import percent, volume
from pipeline.study.records import StudySpec, TrialRecord

REFRESH_PER_SECOND = 4
BEAT_S = 2.0  # between two progress reports of a trial, on a terminal


@contextmanager
def watch(*, quiet: bool) -> Iterator[Watcher]:
    """Yield a watcher: a silent one if quiet, a live view on a terminal, else plain lines."""
    if quiet:
        yield SilentWatcher()
        return
    watcher = Terminal(err)
    if not err.is_terminal:
        yield watcher
        return
    with ResizingLive(
        watcher, watcher.printed, console=err, refresh_per_second=REFRESH_PER_SECOND, transient=True
    ):
        yield watcher


class Terminal(Watcher):
    """Prints a line for everything that ends; on a terminal also a live view of what runs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()
        self.what = "starting"
        self.progress: SearchProgress | None = None
        self.ended_before: int | None = None  # trials, by earlier searches
        self.time = Clock()
        self.begun_s: dict[int, float] = {}  # when trials were started
        self.progress_s = self.started
        self.paces: dict[int, Pace] = {}
        self.previews: dict[int, Preview] = {}
        self.beat_s = BEAT_S if console.is_terminal else NEVER
        self.spinner = Spinner("dots", style="cyan")
        self.printed: deque[Text] = deque(maxlen=KEPT)  # lines above the live view

    def stage(self, what: str) -> None:
        """Print the name of a stage that begins."""
        self.what = what
        self._print("[dim]{clock}[/]  {what} …", what=what)

    def dense(self) -> None:
        """Print that one of the dense networks is trained."""
        self._print("[dim]{clock}[/]  … one of them is trained")

    def anchors(self, spec: StudySpec) -> None:
        """Print the anchors: the trials begin."""
        anchors = spec.anchors
        self.what = f"study {spec.name}"
        self._print(
            "[dim]{clock}[/]  {what}: {anchors}",
            what=self.what,
            anchors=f"dense {spec.metric_name} {anchors.dense:.4f} "
            + (f"({spec.dense_origin})" if spec.own else f"at lr {anchors.dense_learning_rate:g}")
            + f", constant {anchors.constant:.4f}",
        )

    def on_progress(self, number: int, values: Mapping[str, float]) -> None:
        """Update the pace of a running trial."""
        self.paces[number] = Pace.of(self.paces.get(number), values, time.monotonic())

    def on_preview(self, number: int, preview: Preview) -> None:
        """Show the first networks of a study, before a trial has ended."""
        self.previews[number] = preview
        if self.progress is None or not self.progress.ended:
            self._print(
                "[dim]{clock}[/]  {trial} {preview}", trial=f"trial {number:<3}", preview=str(preview)
            )

    def on_change(self, progress: SearchProgress, record: TrialRecord | None) -> None:
        """Update the live view; print a line if a trial has ended."""
        now = time.monotonic()
        if self.ended_before is None:
            self.ended_before = progress.ended
        self.progress, self.progress_s = progress, now
        ended = progress.ended - self.ended_before
        self.time.change(now, running=progress.running, ended=ended, slots=progress.slots)
        self.previews = {number: one for number, one in self.previews.items() if number in progress.at_work}
        self.begun_s = {number: self.begun_s.get(number, now) for number in progress.at_work}
        if record is None:
            return
        self.paces.pop(record.number, None)
        point = record.recovered
        if record.state != "complete" or point is None:
            what, style, reason = str(record.state), "red", f": {record.reason}"
        else:
            what = f"{point.measurement.metric:.4f} at {percent(point.measurement.share)}"
            style, reason = "default", f"  {record.reason}" if record.reason else ""
        summary = "" if self.console.is_terminal else f"  │ {self._summary()}"  # the live view has it
        self._print(
            f"[dim]{{clock}}[/]  {{trial}} [{style}]{{what}}[/][yellow]{{reason}}[/][dim]{{summary}}[/]",
            trial=f"trial {record.number:<3}",
            what=what,
            reason=reason,
            summary=summary,
        )

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._print("[yellow]{message}[/]", message=message)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the live view: a headline; once trials run, their progress."""
        progress, head = self.progress, self.what.partition(":")[0]  # the reasons are in the lines above
        if progress is not None:
            left = self._seconds_left(progress)
            head += "" if left is None else f" · {clock(left)} left"
        line = Table.grid(padding=(0, 1))
        line.add_row(self.spinner, Text(f"{self._clock()}  {head}"))
        yield line
        if progress is not None:
            since = time.monotonic() - self.progress_s
            paces, previews = dict(self.paces), [*self.previews.values()]
            yield body(progress, paces, self.begun_s, previews, since_s=since, width=options.max_width)

    def _summary(self) -> str:
        now = self.progress
        if now is None:
            return ""
        parts = [f"{now.ended}/{now.total} trials", f"{now.running} running"]
        if now.failed:
            parts.append(f"{now.failed} failed")
        if now.front is not None and now.front.points:
            parts.append(f"front {len(now.front.points)}")
            if now.front.spec.anchors.known:
                parts.append(f"hypervolume {volume(now.front.hypervolume_normalised)}")
        left = self._seconds_left(now)
        if left is not None:
            parts.append(f"{clock(left)} left")
        return ", ".join(parts)

    def _seconds_left(self, now: SearchProgress) -> float | None:
        """Return the time left at the pace of this search's trials; None while it is not known."""
        parts = [self.paces[number].part if number in self.paces else 0.0 for number in now.at_work]
        waiting = max(0, now.total - now.ended - now.running)
        return self.time.seconds_left(time.monotonic(), running=parts, waiting=waiting)

    def _clock(self) -> str:
        return clock(time.monotonic() - self.started)

    def _print(self, markup: str, **values: str) -> None:
        line = styled(markup, clock=self._clock(), **values)
        self.console.print(line, soft_wrap=True)
        self.printed.append(line)
