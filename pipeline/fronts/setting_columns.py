"""Which settings a table of a front shows beside what its networks measure."""

from __future__ import annotations

from pipeline.fronts.front import Front
from pipeline.study.records import Params, ParamValue

# Those that a method's user would turn first, and what narrow tables call them.
NUMBERS = {
    "penalty_strength": "penalty",
    "threshold": "threshold",
    "target": "target",
    "spectral_bound": "bound",
}
# What is done, in words: a column only where the networks differ in it.
CHOICES = ("level", "strategy", "estimator", "estimate", "saliency", "scope", "rewind")


def setting_columns(found: Front) -> dict[str, str]:
    """Settings by what their column is called, in order."""
    columns = {
        key: name for key, name in NUMBERS.items() if any(key in point.params for point in found.points)
    }
    return columns | {key: key for key in CHOICES if len(_values(found, key)) > 1}


def settings_alike(found: Front) -> Params:
    """Settings in words that all networks of a front share."""
    return {key: values[0] for key in CHOICES if len(values := _values(found, key)) == 1}


def _values(found: Front, key: str) -> list[ParamValue]:
    return list(dict.fromkeys(point.params[key] for point in found.points if key in point.params))
