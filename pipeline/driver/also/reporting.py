"""A search's events, passed on, and each ended trial to other trackers, too. A tracker that fails stops no search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import final

from pipeline.driver.also.port import OtherTracker, TrackerKind, run_of
from pipeline.driver.also.tensorboard import TensorBoard
from pipeline.driver.also.trackio import Trackio
from pipeline.driver.search.watcher import Preview, SearchProgress, Watcher
from pipeline.study.nearest import did_you_mean
from pipeline.study.records import BadInput, StudySpec, TrialRecord

KINDS = {
    "tensorboard": TrackerKind("tensorboard", "FOLDER", TensorBoard),
    "trackio": TrackerKind("trackio", None, Trackio),
}


def check_also(also: Sequence[str]) -> None:
    """Refuse trackers that there are not.

    Raises:
        BadInput: a name that is none, a target that is missing or too much, or a package that is not installed.
    """
    for each in also:
        name, _, target = each.partition(":")
        kind = KINDS.get(name)
        if kind is None:
            raise BadInput(
                f"There is no tracker {name!r}.{did_you_mean(name, KINDS)} "
                f"--also takes {', '.join(map(_usage, KINDS))}."
            )
        if bool(target) != (kind.target is not None):
            raise BadInput(f"--also is {each!r}. Write {_usage(name)}.")
        if find_spec(kind.package) is None:
            raise BadInput(f"{kind.package} is not installed: pip install 'prunefront[{name}]'.")


def reporting(watcher: Watcher, also: Sequence[str]) -> Watcher:
    """Return a watcher that writes ended trials to other trackers, too."""
    return _Reporting(watcher, {each: _tracker(each) for each in also}) if also else watcher


def _tracker(also: str) -> OtherTracker:
    name, _, target = also.partition(":")
    return KINDS[name].make(target)


def _usage(name: str) -> str:
    target = KINDS[name].target
    return name if target is None else f"{name}:{target}"


@final
class _Reporting(Watcher):
    """Passes events on to a watcher, and ended trials to trackers."""

    def __init__(self, watcher: Watcher, trackers: dict[str, OtherTracker]) -> None:
        self._watcher, self._trackers = watcher, trackers
        self.beat_s = watcher.beat_s

    def stage(self, what: str) -> None:
        """Pass on."""
        self._watcher.stage(what)

    def dense(self) -> None:
        """Pass on."""
        self._watcher.dense()

    def anchors(self, spec: StudySpec) -> None:
        """Pass on."""
        self._watcher.anchors(spec)

    def on_progress(self, number: int, values: Mapping[str, float]) -> None:
        """Pass on."""
        self._watcher.on_progress(number, values)

    def on_preview(self, number: int, preview: Preview) -> None:
        """Pass on."""
        self._watcher.on_preview(number, preview)

    def on_change(self, progress: SearchProgress, record: TrialRecord | None) -> None:
        """Pass on, and write a trial that has ended; a tracker that fails gets no more."""
        self._watcher.on_change(progress, record)
        if record is None or progress.front is None:
            return
        for name, tracker in [*self._trackers.items()]:
            try:
                tracker.write(run_of(record, progress.front.spec))
            except Exception as error:  # whatever its library raises
                del self._trackers[name]
                self.warn(f"{name} has failed ({type(error).__name__}: {error}); trials go on without it.")

    def warn(self, message: str) -> None:
        """Pass on."""
        self._watcher.warn(message)
