"""The options by which `best`, `export` and `confirm` name a point of a front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pipeline.driver.search.option import Option
from pipeline.fronts.bounds import Bounds

WHICH = "Which network (default: --max-drop 0.01)"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Bounds on a point, as options."""

    max_drop: Annotated[
        float | None,
        Option("Smallest network whose metric drops by at most this below the dense one's.", WHICH),
    ] = None
    min_metric: Annotated[float | None, Option("Smallest network with at least this metric.", WHICH)] = None
    min_compression: Annotated[
        float | None,
        Option(
            "Best network with at least this share of the encoder gone, 0 to 1.",
            WHICH,
            also=("--compression",),
        ),
    ] = None
    min_sparsity: Annotated[
        float | None,
        Option(
            "Best network with at least this share of zeros (studies of single weights).",
            WHICH,
            also=("--sparsity",),
        ),
    ] = None
    max_latency_ms: Annotated[
        float | None, Option("Best network that is at least this fast, in ms a batch as in `show`.", WHICH)
    ] = None
    max_mb: Annotated[float | None, Option("Best network of at most this size, in MB as fp32.", WHICH)] = None
    knee: Annotated[bool, Option("The front's knee.", WHICH)] = False
    point: Annotated[int | None, Option("Row number in `prunefront show`.", WHICH)] = None

    @property
    def bounds(self) -> Bounds:
        """The bounds, checked.

        Raises:
            BadInput: a value that no point can have, or two ways to name one.
        """
        return Bounds(**vars(self))
