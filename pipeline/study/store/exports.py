"""The scores of a study's exported networks on its test rows: exports.json in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from pipeline.study.store.recordfile import read_json, write_json

EXPORTS = "exports.json"


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
        """Return all scores, in the order in which they were measured."""
        path = self.folder / EXPORTS
        return read_json(path, _FILE).networks if path.is_file() else ()

    def find(self, trial: int, point: int, weights_sha256: str) -> TestScores | None:
        """Return the scores of a point's network, if it was measured with these weights."""
        key = (trial, point, weights_sha256)
        return next((s for s in self.read() if (s.trial, s.point, s.weights_sha256) == key), None)

    def add(self, scores: TestScores) -> None:
        """Add the scores of one network."""
        write_json(self.folder / EXPORTS, _File((*self.read(), scores)))
