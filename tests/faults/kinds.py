"""The kinds of studies whose schedules are tried, and of each the schedules that no other kind has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.kit.schedules import Schedule, Study

# how each is made; what a kind begins with as another one does is tried there
KINDS: dict[str, dict[str, Any]] = {
    "complete": {},
    "stopped": {"stops": True},
    "earlier": {"actor": "earlier"},
    "anew": {"leftover": True},
    "journal": {"journal": True},
    "exporter": {"actor": "exporter"},
    "mlflow": {"mlflow": True},
    "sync": {"actor": "sync"},
}
OF_JOURNAL = re.compile(r"^commit|/ledger")
OF_MLFLOW = re.compile(r"mlflow\.db|/artifacts|outbox")


def make(name: str, folder: Path, **options: Any) -> Study:
    """Return the study of a kind in a new folder."""
    return Study(folder / name, **KINDS[name], **options)


def own_schedules(name: str, studies: Mapping[str, Study]) -> list[Schedule]:
    """Return all schedules of a kind but those whose points another kind has.

    A stopped trial is like a complete one up to its rung; MLflow adds its own writes between those of a driver.
    """
    study = studies[name]
    every = [*study.schedules(), *study.at_once()]
    if name == "stopped":
        first = _apart(study.points, studies["complete"].points)
        return [each for each in every if each.at > first]
    if name == "anew":  # until it is as if nothing had been there
        begun = max(at for at, point in enumerate(study.points, 1) if "began.json" in point)
        return [each for each in every if each.at <= begun]
    if name == "journal":  # files of the store are the same with any ledger
        return [each for each in every if OF_JOURNAL.search(study.points[each.at - 1])]
    if name in ("mlflow", "sync"):
        return [
            each for each in every if OF_MLFLOW.search(study.points[each.at - 1]) and each.fault != "undone"
        ]
    return every


def _apart(points: list[str], others: list[str]) -> int:
    """Return how many points, from the first on, are those of another study."""
    pairs = zip(map(_plain, points), map(_plain, others), strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), len(points))


def _plain(name: str) -> str:
    return re.sub(r"[0-9a-f]{8}", "*", name)  # names have random parts
