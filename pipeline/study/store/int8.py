"""What 8-bit networks of a study's points measured: a file for each point and kind, the latest export's.

STUDY/int8/NNNNN-PP-KIND.json   point PP of trial NNNNN
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from pipeline.study.store.recordfile import read_json, write_json

FOLDER = "int8"


@dataclass(frozen=True)
class Int8Scores:
    """One 8-bit network, beside the fp32 network of its point in the same engine, on the same validation rows."""

    trial: int
    point: int
    kind: str  # dynamic, static, torchao
    engine: str
    metric: float
    fp32_metric: float
    size_mb: float
    ms: float | None  # of a batch; None: the machine did other work
    fp32_ms: float | None
    batch: int
    length: int
    threads: int
    device: str


_SCORES = TypeAdapter(Int8Scores)


@dataclass(frozen=True)
class Int8Networks:
    """The 8-bit networks of one study; `folder` is the study's."""

    folder: Path

    def read(self) -> tuple[Int8Scores, ...]:
        """Return all, by trial, point and kind."""
        return tuple(read_json(path, _SCORES) for path in sorted((self.folder / FOLDER).glob("*.json")))

    def add(self, scores: Int8Scores) -> None:
        """Add one, in place of an earlier one of its point and kind."""
        name = f"{scores.trial:05d}-{scores.point:02d}-{scores.kind}.json"
        write_json(self.folder / FOLDER / name, scores)
