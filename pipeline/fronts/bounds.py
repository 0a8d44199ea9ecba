"""Bounds by which a point of a front is chosen: the same for `best`, `export`, `confirm` and `pick`."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from pipeline.study.records import BadInput

USUAL_DROP = 0.01  # below the dense metric, where nothing else is asked for
ROUNDING = 1e-9  # 0.95 - 0.94 is more than 0.01 in floats


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a point must have.

    A bound on the metric (`max_drop`, `min_metric`) asks for the smallest network within all bounds, the others alone
    for the best one. `knee` and `point` name a point; they stand alone.

    Attributes:
        max_drop: the metric is at most this far below the dense network's.
        min_metric: the metric is at least this.
        min_compression: share of the encoder's parameters that are gone, 0 to 1.
        min_sparsity: share of the encoder's parameters that are zero, 0 to 1; of studies of single weights.
        max_latency_ms: milliseconds of a batch, as in `show`.
        max_mb: size of the whole network's weights in fp32, in MB (10^6 bytes).
        knee: the point farthest above the straight line between the front's ends.
        point: the row's number in `show`, from 1.

    Raises:
        BadInput: a value that no point can have, or two ways to name one.
    """

    max_drop: float | None = None
    min_metric: float | None = None
    min_compression: float | None = None
    min_sparsity: float | None = None
    max_latency_ms: float | None = None
    max_mb: float | None = None
    knee: bool = False
    point: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("min_compression", "min_sparsity"):
            _check_share(name, getattr(self, name))
        for name in ("max_drop", "max_latency_ms", "max_mb"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise BadInput(f"{flag(name)} is {value:g}. It must be 0 or more.")
        if self.min_metric is not None and math.isnan(self.min_metric):
            raise BadInput("--min-metric is not a number.")
        if self.point is not None and self.point < 1:
            raise BadInput(
                f"--point is {self.point}. Rows are numbered from 1; `prunefront show` prints them."
            )
        given = [flag(name) for name in self.given]
        if len(given) > 1 and (self.knee or self.point is not None):
            raise BadInput(f"{' and '.join(given)} name different points. Leave all but one out.")

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the bounds that are set."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return tuple(name for name, value in values.items() if value is not None and value is not False)


def lowest_metric(dense: float, drop: float) -> float:
    """Return the metric that is `drop` below the dense one; what has exactly that is not below it."""
    return dense - drop - ROUNDING


def flag(name: str) -> str:
    """Return a bound's option, such as --max-drop."""
    return f"--{name.replace('_', '-')}"


def _check_share(name: str, value: float | None) -> None:
    if value is None or 0 <= value <= 1:
        return
    meant = f" Did you mean {value / 100:g}?" if 1 < value <= 100 else ""
    raise BadInput(f"{flag(name)} is {value:g}. It is a share, from 0 to 1.{meant}")
