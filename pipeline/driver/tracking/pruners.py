"""A fitted pruner in MLflow: a run of its own, found again by its base model and what it was fitted to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.driver.tracking.connection import Connection, now
from pipeline.driver.tracking.published import provenance_tags
from pipeline.driver.tracking.values import Value

EXPERIMENT = "prunefront pruners"
PRUNER, BASE = "prunefront.pruner", "prunefront.base_fingerprint"
GROWS = ("steps", "seconds", "loss", "provenance")  # with further steps of fitting


def publish(
    connection: Connection, about: Mapping[str, Any], files: Sequence[Path], *, tags: Mapping[str, str]
) -> None:
    """Write a pruner's run, or bring it up to date: what it is, how it was fitted, and its files."""
    what = {key: value for key, value in about.items() if key not in GROWS}
    name = sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    experiment_id = connection.experiment(EXPERIMENT)
    found = connection.runs(experiment_id, tag=PRUNER, value=name)
    tags = {
        **tags,
        PRUNER: name,
        BASE: str(about["base_fingerprint"]),
        **provenance_tags(about["provenance"]),
    }
    run = found[0] if found else connection.begin(experiment_id, name=f"smp of {about['model']}", tags=tags)
    params = {key: value if isinstance(value, str) else json.dumps(value) for key, value in what.items()}
    step = int(about["steps"])
    values = [Value(key, float(about[key]), step, now()) for key in ("loss", "seconds")]
    connection.write(run.id, values=values, params=params, tags=tags)
    with connection.artifacts(run.id) as folder:
        for file in files:
            shutil.copyfile(file, folder / file.name)
    connection.end(run.id, "FINISHED")
