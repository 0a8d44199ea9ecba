"""Check, before anything is made, that a point can be written plainly; if not, what the nearest that can costs."""

from __future__ import annotations

from pipeline.export.checkpoint import why_not_plain
from pipeline.export.reopen import Reopened
from pipeline.fronts.front import FrontPoint, front_of
from pipeline.study.records import BadInput, Point


def check_plain(opened: Reopened, point: FrontPoint) -> None:
    """Check that the library's own configuration describes a network.

    Raises:
        BadInput: it does not; the message has the study's nearest network that can be written plainly.
    """
    study, config = opened.store.study(opened.spec.name), opened.inputs.source.config
    own = study.read_record(point.trial).points[point.point]
    reason = why_not_plain(own.masks, config)
    if reason is None:
        return
    table = study.read_points()
    plain = []
    for number in study.finished_numbers():
        points = study.read_record(number).points
        # of those that the options named below choose: none that another network of its trial dominates
        for row, on_front in enumerate(front_of(table.of_trials([number])).points, 1):
            each = points[on_front.point]
            if each.measurement.compression > 0 and why_not_plain(each.masks, config) is None:
                plain.append((f"--trial {number} --point {row}", each))
    way_out = (
        'This study has no such network: search with [allocation] value = "uniform" in a space file, or leave --plain '
        "out."
    )
    if plain:
        options, nearest = min(plain, key=lambda found: _apart(found[1], own))
        measured = nearest.measurement
        way_out = (
            f"The nearest such network of this study is {options}: "
            f"{opened.spec.metric_name} {measured.metric:.4f} in place of {own.measurement.metric:.4f} "
            f"({measured.metric - own.measurement.metric:+.4f}), compression {measured.compression:.1%} in place of "
            f"{own.measurement.compression:.1%}. Or leave --plain out."
        )
    raise BadInput(
        f"A plain folder holds a network that the library's own configuration describes: whole layers, each as wide as "
        f"the others. Of trial {point.trial}, compression {own.measurement.compression:.1%}, {reason}. {way_out}"
    )


def _apart(one: Point, other: Point) -> tuple[float, float]:
    """Return the distance in compression, in steps of a percent, then the metric's loss."""
    steps = abs(one.measurement.compression - other.measurement.compression)
    return round(steps, 2), -one.measurement.metric
