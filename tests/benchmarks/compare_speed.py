"""How long `prunefront compare` takes: 20 studies of 500 trials with curves of 32 steps, from the command to its end.

    python -m tests.benchmarks.compare_speed

The studies' tables are written straight away, with an empty record beside each trial: a comparison reads nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.store import Store
from pipeline.store.table import COLUMNS, to_bytes
from tests.synthetic import spec

STUDIES, TRIALS, STEPS = 20, 500, 32


def write_study(store: Store, name: str, *, seed: int, method: str) -> None:
    """A study whose table is up to date with its (empty) records."""
    store.write_spec(replace(spec(name, method=method), seed=seed))
    folder = store.study_folder(name)
    written = []
    for number in range(TRIALS):
        record = folder / "trials" / f"{number:05d}" / "record.json"
        record.parent.mkdir(parents=True)
        record.touch()
        written.append(record.stat().st_mtime_ns)
    generator = np.random.default_rng([seed, len(method)])
    gain = np.sort(generator.random((TRIALS, STEPS)), axis=1)
    gain[:, 0] = 0.0
    top = generator.normal(0.85 if method == "snip" else 0.8, 0.01, (TRIALS, 1))
    metric = (
        top - 0.35 * gain ** generator.uniform(2, 6, (TRIALS, 1)) + generator.normal(0, 0.005, gain.shape)
    )
    rows = TRIALS * STEPS
    params = [json.dumps({"penalty_strength": n / 10, "threshold": 0.5}) for n in range(TRIALS)]
    columns = {
        "number": np.repeat(np.arange(TRIALS), STEPS),
        "state": ["complete"] * rows,
        "reason": [""] * rows,
        "params": np.repeat(params, STEPS),
        "epochs": np.full(rows, 3.0),
        "seconds": np.full(rows, 60.0),
        "point": np.tile(np.arange(STEPS), TRIALS),
        "kind": np.tile(["curve"] * (STEPS - 1) + ["recovered"], TRIALS),
        "round": np.zeros(rows, dtype=np.int64),
        "threshold": np.tile(np.arange(STEPS) / STEPS, TRIALS),
        "metric": metric.ravel(),
        "compression": gain.ravel(),
        "compression_total": gain.ravel() / 2,
        "parameters": (2000 - 1000 * gain.ravel()).astype(np.int64),
        "encoder_parameters": (1000 - 1000 * gain.ravel()).astype(np.int64),
        "macs": (5000 - 5000 * gain.ravel()).astype(np.int64),
        "size_mb": np.full(rows, 0.008),
        "written_ns": np.repeat(written, STEPS),
    }
    arrays = [
        pa.array(columns[field.name]).cast(field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in COLUMNS
    ]
    (folder / "points.arrow").write_bytes(to_bytes(pa.Table.from_arrays(arrays, schema=COLUMNS)))


def main() -> None:
    """Prints the seconds of three runs."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for seed in range(STUDIES // 2):
            for method in ("snip", "chance"):
                write_study(store, f"{method}-seed{seed}", seed=seed, method=method)
        command = [sys.executable, "-m", "pipeline", "compare", "--task", "toy", "--store", folder, "--json"]
        for _ in range(3):
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - started
            seeds = [len(worth["seeds"]) for worth in json.loads(done.stdout)["validation"]["worths"]]
            print(
                f"compare {STUDIES} studies x {TRIALS} trials x {STEPS} steps: {seconds:.2f} s (groups of {seeds})"
            )


if __name__ == "__main__":
    main()
