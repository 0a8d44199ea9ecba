"""The live view of a search: its progress, a line per running trial, and its front as a small plot."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.cli.plot import braille
from pipeline.driver.search.watcher import Preview, SearchProgress
from pipeline.fronts.numbers import volume
from pipeline.study.records import StudySpec

TRIALS_SHOWN = 12
WIDE = 110  # columns from which on table and plot are side by side
BAR, BAR_WIDE = 14, 24
PLOT_ROWS, PLOT_LEAST, PLOT_MOST = 7, 30, 66
LABEL = 6  # columns of a number at the plot's side


@dataclass(frozen=True)
class Pace:
    """The last values of a running trial, and its speed."""

    values: Mapping[str, float]
    began_s: float  # time of its first values
    began_at: float  # epoch of its first values
    received_s: float  # time of its last values

    @staticmethod
    def of(before: Pace | None, values: Mapping[str, float], now: float) -> Pace:
        """Return the pace with new values; a trial that went back, because its worker was lost, starts anew."""
        epoch = values.get("epoch", 0.0)
        if before is None or epoch < before.values.get("epoch", 0.0):
            return Pace(values, now, epoch, now)
        return replace(before, values={**before.values, **values}, received_s=now)

    @property
    def part(self) -> float:
        """The part of its epochs that is trained, 0 to 1."""
        epochs = self.values.get("epochs", 0.0)
        return min(1.0, self.values.get("epoch", 0.0) / epochs) if epochs else 0.0

    def seconds_left(self, now: float) -> float | None:
        """Return the time until all its epochs are trained; None while its pace is not known."""
        epoch = self.values.get("epoch", 0.0)
        passed = self.received_s - self.began_s
        if passed <= 0 or epoch <= self.began_at:
            return None
        left = (self.values.get("epochs", epoch) - epoch) * passed / (epoch - self.began_at)
        return max(0.0, left - (now - self.received_s))


def clock(seconds: float) -> str:
    """Return a time as text: 125 -> 2:05; 7322 -> 2:02:02."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def body(
    progress: SearchProgress,
    paces: Mapping[int, Pace],
    begun_s: Mapping[int, float],
    previews: Sequence[Preview] = (),
    *,
    since_s: float,
    width: int,
) -> RenderableType:
    """Return what is below the headline.

    Args:
        progress: of the search.
        paces: of its running trials, by number.
        begun_s: when these were started, by number, on time.monotonic's clock.
        previews: their networks so far, which are plotted until there is a front.
        since_s: seconds since `progress` was taken.
        width: columns of the terminal.
    """
    wide, found = width >= WIDE, progress.front
    parts: list[RenderableType] = []
    if progress.at_work:
        parts.append(running_table(progress, paces, begun_s, now=time.monotonic(), wide=wide))
    points = [] if found is None else [(point.metric, point.gain) for point in found.points]
    so_far = "" if points else " so far"
    points = points or [point for each in previews for point in each.points]
    if found is not None and points:
        room = width - 2 * LABEL - 78 if wide else width - LABEL - 4
        columns = min(PLOT_MOST, max(PLOT_LEAST, room))
        parts.append(front_plot(found.spec, points, columns=columns, remark=so_far))
    if wide and len(parts) > 1:
        both = Table.grid(padding=(0, 3))
        both.add_row(*parts)
        parts = [both]
    return Group(Text(counts(progress, since_s=since_s), style="dim"), *parts)


def counts(progress: SearchProgress, *, since_s: float) -> str:
    """Return a line such as 7 complete, 1 stopped, 2 running of 16 trials · 12:31 of 30:00 · hypervolume 0.612."""
    complete = progress.ended - progress.stopped - progress.failed
    kinds = (
        (complete, "complete"),
        (progress.stopped, "stopped"),
        (progress.failed, "failed"),
        (progress.running, "running"),
    )
    states = ", ".join(f"{count} {kind}" for count, kind in kinds if count) or "none yet"
    parts = [f"{states} of {progress.total} trials"]
    budget, spent = progress.budget, progress.spent
    if budget.minutes is not None:
        parts.append(f"{clock(spent.seconds + since_s)} of {clock(60 * budget.minutes)}")
    if budget.gpu_hours is not None:
        parts.append(f"{spent.gpu_seconds / 3600:.2f} of {budget.gpu_hours:g} GPU-hours")
    if progress.front is not None and progress.front.points and progress.front.spec.anchors.known:
        parts.append(f"hypervolume {volume(progress.front.hypervolume_normalised)}")
    return " · ".join(parts)


def running_table(
    progress: SearchProgress,
    paces: Mapping[int, Pace],
    begun_s: Mapping[int, float],
    *,
    now: float,
    wide: bool,
) -> Table:
    """Return a table with a line per running trial; of many, those that began first."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 1))
    table.add_column("trial", justify="right", width=5)  # fixed widths: moving columns are hard to read
    table.add_column("epoch", width=BAR_WIDE if wide else BAR)
    for name, columns in (("", 12), ("loss", 6), ("metric", 6), ("compr.", 7), ("left", 7)):
        table.add_column(name, justify="right", width=columns, no_wrap=True)
    numbers = sorted(progress.at_work)
    for number in numbers[:TRIALS_SHOWN]:
        if number in paces:
            table.add_row(str(number), *_cells(paces[number], now=now, bar=BAR_WIDE if wide else BAR))
        else:
            waited = clock(now - begun_s.get(number, now))
            table.add_row(str(number), Text(f"starting {waited}", style="dim"))
    if len(numbers) > TRIALS_SHOWN:
        table.add_row("", Text(f"and {len(numbers) - TRIALS_SHOWN} more", style="dim"))
    return table


def _cells(pace: Pace, *, now: float, bar: int) -> list[RenderableType]:
    values = pace.values
    epoch, epochs = values.get("epoch", 0.0), values.get("epochs", 0.0)
    left = pace.seconds_left(now)
    return [
        ProgressBar(total=epochs or 1.0, completed=epoch, width=bar),
        f"{epoch:.1f} of {epochs:.3g}",
        f"{values['train_loss']:.3f}" if "train_loss" in values else "",
        f"{values['metric']:.3f}" if "metric" in values else "",
        f"→ {100 * values['projected']:.0f} %" if "projected" in values else "",
        "" if left is None else clock(left),
    ]


def front_plot(
    spec: StudySpec, points: Sequence[tuple[float, float]], *, columns: int, remark: str = ""
) -> Table:
    """Return a plot of networks, (metric, gain) of each, gain from 0 to 1; the line is the dense network, if known."""
    dense = spec.anchors.dense if spec.anchors.known else None
    heights = [metric for metric, _ in points] + ([] if dense is None else [dense])
    low, high = min(heights), max(heights)
    lines = braille(
        [(gain, metric) for metric, gain in points],
        columns=columns,
        rows=PLOT_ROWS,
        x=(0.0, 1.0),
        y=(low, high),
        level=dense,
    )
    title = f"{spec.metric_name} against {spec.second.label.partition(' (')[0]}{remark}"
    plot = Table.grid()
    plot.add_column(justify="right", width=LABEL, style="dim")
    plot.add_column(no_wrap=True)
    plot.add_row("", Text(f" {title}"[: columns + 1], style="dim"))
    for number, line in enumerate(lines):
        label = (
            f"{high:.3f}" if number == 0 else f"{low:.3f}" if number == len(lines) - 1 and low < high else ""
        )
        plot.add_row(label, Text(f"┤{line}" if label else f"│{line}", style="cyan"))
    scale = "0".ljust(columns // 2) + "50".ljust(columns - columns // 2 - 5) + "100 %"
    plot.add_row("", Text(f" {scale}", style="dim"))
    return plot
