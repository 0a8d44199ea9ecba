"""The weights of the networks on a study's front, removed when they leave it, so that it bounds disk use.

    trials/NNNNN/weights/round-RR.safetensors   the network before that round's cut, which gives the whole curve
    trials/NNNNN/weights/recovered.safetensors  the recovered network

An attempt writes them into its own folder; they are moved here just after the trial's record, which says whose they
are, is written. Missing weights are trained again when they are needed (export/network.py), and the result is in
retrained-PP.json, for point PP.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from pipeline.study.records import PointRef
from pipeline.study.store.objects import bucket_of, drop, send
from pipeline.study.store.recordfile import JSON, read_json, write_json
from pipeline.study.whole_file import move

WEIGHTS, RECOVERED = "weights", "recovered"
SUFFIX = ".safetensors"


def before_cut(round_: int) -> str:
    """Return the name of the weights before a round's cut."""
    return f"round-{round_:02d}"


@dataclass(frozen=True)
class Retrained:
    """The result of training a network again: its metric on validation as recorded, and as measured now.

    `standard_error` is that of the metric over validation rows.
    """

    recorded: float
    metric: float
    standard_error: float

    @property
    def differs(self) -> bool:
        """Whether the two metrics are more than two standard errors apart."""
        return abs(self.metric - self.recorded) > 2 * self.standard_error


_RETRAINED = TypeAdapter(dict[str, dict[int, Retrained]])


@dataclass(frozen=True)
class Weights:
    """The weights of one study; `trials` is the folder of its trials."""

    trials: Path

    def path(self, trial: int, name: str) -> Path:
        """Return the path of the weights of that name, which need not exist."""
        return self._trial(trial) / WEIGHTS / f"{name}{SUFFIX}"

    def of_point(self, point: PointRef) -> Path | None:
        """Return the file from which a point's network is made; None if it does not exist.

        A recovered network without weights of its own was not trained after the cut: it is the cut network.
        """
        path = self._of_point(point, self._names(point.trial))
        if path is not None and (bucket := bucket_of(path)) is not None:
            bucket.fetch(path)
        return path

    def _of_point(self, point: PointRef, names: set[str]) -> Path | None:
        """Return the file, if one of its possible names is in `names`."""
        cut = before_cut(point.round)
        possible = (RECOVERED, cut) if point.kind == "recovered" else (cut,)
        return next((self.path(point.trial, name) for name in possible if f"{name}{SUFFIX}" in names), None)

    def _names(self, trial: int) -> set[str]:
        """Return the names of a trial's files of weights, in the store's folder or in its bucket."""
        folder = self._trial(trial) / WEIGHTS
        if (bucket := bucket_of(folder)) is not None:
            return set(bucket.names(folder))
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def take(self, trial: int, attempts: Sequence[Path]) -> None:
        """Move the weights that a trial's attempts wrote into the store; of one name, the last attempt's."""
        for attempt in attempts:
            for source in sorted((attempt / WEIGHTS).glob(f"*{SUFFIX}")):
                target = self.path(trial, source.stem)
                with suppress(
                    FileNotFoundError
                ):  # another process does the same: of one trial it moves the same files
                    move(source, target)
                    send(target)

    def keep_only(self, front: Iterable[PointRef], *, among: Iterable[int] | None = None) -> None:
        """Remove the weights of all networks that are not on the front, of trials that have ended.

        Args:
            front: the points of the front.
            among: the trials to look at, those that may have left the front; all trials if None.
        """
        points: defaultdict[int, list[PointRef]] = defaultdict(list)
        for point in front:
            points[point.trial].append(point)
        for number in self.with_weights() if among is None else sorted(set(among)):
            if not (self._trial(number) / JSON).is_file():
                continue
            names = self._names(number)
            keep = {
                path.name for point in points[number] if (path := self._of_point(point, names)) is not None
            }
            folder = self._trial(number) / WEIGHTS
            for name in sorted(names - keep):
                (folder / name).unlink(missing_ok=True)
                drop(folder / name)
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)

    def with_weights(self) -> list[int]:
        """Return the trials that may have weights."""
        if (bucket := bucket_of(self.trials)) is not None:
            return [int(name) for name in bucket.names(self.trials) if name.isdecimal()]
        return [int(folder.parent.name) for folder in self.trials.glob(f"*/{WEIGHTS}")]

    def size_bytes(self) -> int:
        """Return the bytes of all weights on disk."""
        if (bucket := bucket_of(self.trials)) is not None:
            return bucket.size(self.trials, where=lambda name: name.split("/")[-2:-1] == [WEIGHTS])
        return sum(path.stat().st_size for path in self.trials.glob(f"*/{WEIGHTS}/*{SUFFIX}"))

    def note_retrained(self, trial: int, point: int, found: Retrained) -> None:
        """Write the result of training a network again."""
        write_json(self._trial(trial) / f"retrained-{point:02d}.json", _Noted({point: found}))

    def retrained(self, point: PointRef) -> Retrained | None:
        """Return the result of training a point's network again; None if it never was."""
        return self._retrained(point.trial).get(point.point)

    def _retrained(self, trial: int) -> dict[int, Retrained]:
        found: dict[int, Retrained] = {}
        for path in sorted(self._trial(trial).glob("retrained*.json")):  # earlier versions wrote one for all
            found |= read_json(path, _RETRAINED)["points"]
        return found

    def _trial(self, number: int) -> Path:
        return self.trials / f"{number:05d}"


@dataclass(frozen=True)
class _Noted:
    points: dict[int, Retrained]
