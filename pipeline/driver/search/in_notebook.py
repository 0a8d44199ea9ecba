"""The progress of a search in a notebook: one cell output that changes, without a widget library."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from html import escape
from typing import Any

from pipeline.driver.search.watcher import Preview, SearchProgress, Watcher
from pipeline.fronts.numbers import percent, volume
from pipeline.study.records import StudySpec, TrialRecord

LINES = 8  # of what has ended, that stay on the screen
BEAT_S = 2.0  # between two reports of a running trial


def in_notebook() -> bool:
    """Return whether this process is a notebook's kernel."""
    shell = sys.modules.get("IPython")
    found = None if shell is None else shell.get_ipython()
    return found is not None and getattr(found, "kernel", None) is not None


class NotebookWatcher(Watcher):
    """Shows what runs, and the last lines of what has ended."""

    beat_s = BEAT_S

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._what, self._standing = "starting", ""
        self._running: dict[int, str] = {}
        self._ended = 0  # trials of the study
        self._started = time.monotonic()
        self._handle: Any = None

    def stage(self, what: str) -> None:
        """Show a stage that begins."""
        self._what = what
        self._show()

    def anchors(self, spec: StudySpec) -> None:
        """Show the anchors: the trials begin."""
        self._add(
            f"study {spec.name}: dense {spec.metric_name} {spec.anchors.dense:.4f}, constant "
            f"{spec.anchors.constant:.4f}"
        )

    def on_progress(self, number: int, values: Mapping[str, float]) -> None:
        """Show how far a trial is."""
        if "epoch" in values and "epochs" in values:
            self._running[number] = f"trial {number}: epoch {values['epoch']:.1f} of {values['epochs']:g}"
            self._show()

    def on_preview(self, number: int, preview: Preview) -> None:
        """Show the first networks of a study, before a trial has ended."""
        if not self._ended:
            self._add(f"trial {number}: {preview}")

    def on_change(self, progress: SearchProgress, record: TrialRecord | None) -> None:
        """Show how the study stands."""
        self._ended = progress.ended
        self._running = {number: self._running.get(number, f"trial {number}") for number in progress.at_work}
        self._standing = f"{progress.ended} of {progress.total} trials, {progress.running} running"
        if progress.front is not None and progress.front.points:
            front = progress.front
            self._standing += (
                f", {len(front)} on the front, hypervolume {volume(front.hypervolume_normalised)}"
            )
        if record is None:
            self._show()
            return
        point = record.recovered
        if record.state == "complete" and point is not None:
            self._add(
                f"trial {record.number}: {point.measurement.metric:.4f} at {percent(point.measurement.share)}"
            )
        else:
            self._add(f"trial {record.number}: {record.state}: {record.reason}")

    def warn(self, message: str) -> None:
        """Show a warning."""
        self._add(message)

    def text(self) -> str:
        """Return what is shown, as lines."""
        seconds = int(time.monotonic() - self._started)
        head = f"{seconds // 60}:{seconds % 60:02d}  {self._what}"
        return "\n".join(
            line for line in (head, self._standing, *self._running.values(), *self._lines[-LINES:]) if line
        )

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._show()

    def _show(self) -> None:
        from IPython.display import HTML, display

        shown = HTML(f"<pre>{escape(self.text())}</pre>")
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)
