"""The spec that a study's ledger is frozen to: what may differ from it, and the message where it does."""

from __future__ import annotations

import json
import math
import tomllib
from typing import Any

from pipeline.study.records import BadInput

ABSENT = "(absent)"
LATE_KEYS = {"space.start_dense.value": "false"}  # of spaces, that came later: what a study was without them


def is_pending(spec: dict[str, Any]) -> bool:
    """Return whether a spec (as a dict) is of a study whose dense network is not trained yet."""
    return math.isnan(spec["anchors"]["dense"])


def same_but_anchors(frozen: dict[str, Any], requested: dict[str, Any]) -> bool:
    """Return whether two specs (as dicts) differ in nothing but their anchors."""
    return not spec_difference(_without_anchors(frozen), _without_anchors(requested))


def _without_anchors(spec: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "anchors"}


def spec_difference(frozen: dict[str, Any], requested: dict[str, Any]) -> list[str]:
    """Return the differences of two StudySpecs (as dicts): one line per field, and per key of their spaces.

    Spaces that are equal but for order, comments or spelling of numbers do not differ, nor does a space from before a
    key existed if the key has the value that holds without it.
    """
    was, now = _flat(frozen), _flat(requested)
    was |= {key: value for key, value in LATE_KEYS.items() if key not in was and now.get(key) == value}
    return [
        f"{key}: it is {was.get(key, ABSENT)}, requested is {now.get(key, ABSENT)}"
        for key in [*was, *(key for key in now if key not in was)]
        if was.get(key, ABSENT) != now.get(key, ABSENT)
    ]


def refuse_difference(frozen: dict[str, Any], requested: dict[str, Any]) -> None:
    """Refuse to go on with a study that was frozen with another spec; both as dicts.

    Anchors are not compared while one of the two has a dense network that is not trained.

    Raises:
        BadInput: with every difference on a line.
    """
    if is_pending(frozen) or is_pending(requested):
        frozen, requested = _without_anchors(frozen), _without_anchors(requested)
    lines = spec_difference(frozen, requested)
    if lines:
        differences = "\n".join(f"  {line}" for line in lines)
        raise BadInput(
            f"{requested['name']!r} was begun otherwise, and a study is frozen at its start. It "
            f"differs in\n{differences}\nGive another --name, or ask for what the study is."
        )


def _flat(spec: dict[str, Any]) -> dict[str, str]:
    """Return dotted keys and JSON texts; the space's TOML is parsed."""
    opened = {("space" if key == "space_toml" else key): value for key, value in spec.items()}
    if isinstance(opened.get("space"), str):
        opened["space"] = tomllib.loads(opened["space"])
    flat: dict[str, str] = {}
    _flatten(opened, prefix="", into=flat)
    return flat


def _flatten(tree: dict[str, Any], *, prefix: str, into: dict[str, str]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            _flatten(value, prefix=f"{prefix}{key}.", into=into)
        else:
            into[f"{prefix}{key}"] = json.dumps(value, default=str)  # TOML has dates, JSON has not
