"""The scores of a study's exported networks on its test rows: a file for each, so that two exports lose none.

STUDY/exports/NNNNN-PP-XXXXXXXXXXXXXXXX.json   point PP of trial NNNNN, and the beginning of its weights' sha256
STUDY/exports.json                             all of them, as earlier versions wrote them
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from pipeline.study.store.recordfile import read_json, write_json

EXPORTS, FOLDER = "exports.json", "exports"


@dataclass(frozen=True)
class TestScores:
    """The scores of one network on the test rows, which are read for it once.

    `parts` are the scores by part of the official dev split (`test`; MNLI has `test_mismatched`, too), each by
    name; `rows` the number of rows of each part. `weights_sha256` is that of the measured weights: a network
    that was trained again has others.
    """

    trial: int
    point: int
    weights_sha256: str
    parts: dict[str, dict[str, float]]
    rows: dict[str, int]

    @property
    def metric(self) -> float:
        """The study's metric."""
        return self.parts["test"]["metric"]


@dataclass(frozen=True)
class _File:
    networks: tuple[TestScores, ...] = ()


_FILE = TypeAdapter(_File)


@dataclass(frozen=True)
class Exports:
    """The test scores of one study; `folder` is the study's."""

    folder: Path

    def read(self) -> tuple[TestScores, ...]:
        """Return all scores, by trial and point."""
        path = self.folder / EXPORTS
        found = list(read_json(path, _FILE).networks) if path.is_file() else []
        for each in sorted((self.folder / FOLDER).glob("*.json")):
            found += read_json(each, _FILE).networks
        return tuple(sorted(found, key=lambda scores: (scores.trial, scores.point)))

    def find(self, trial: int, point: int, weights_sha256: str) -> TestScores | None:
        """Return the scores of a point's network, if it was measured with these weights."""
        key = (trial, point, weights_sha256)
        return next((s for s in self.read() if (s.trial, s.point, s.weights_sha256) == key), None)

    def add(self, scores: TestScores) -> None:
        """Add the scores of one network."""
        name = f"{scores.trial:05d}-{scores.point:02d}-{scores.weights_sha256[:16]}.json"
        write_json(self.folder / FOLDER / name, _File((scores,)))
