"""A store that looks like a real one: several seeds of two methods, with masks, settings and confirmations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.study.records import HistoryRow, Masks, Measurement, Params, Point, TrialRecord
from pipeline.study.space import load_space
from pipeline.study.store import Store
from tests.kit.compare import confirm
from tests.kit.synthetic import ANCHORS, spec

LAYERS, HEADS, NEURONS, ROWS = 6, 12, 64, 40
PROVENANCE = {"version/torch": "2.13.0", "commit": "a80c113", "cpu": "AMD EPYC", "cpu_cores": "2"}


def _record(
    number: int, method: str, penalty: float, worth: float, generator: np.random.Generator, steps: int
) -> TrialRecord:
    order = generator.permutation(LAYERS * (HEADS + 1))
    labels = np.tile([0, 1], ROWS // 2)
    points = []
    for step in np.linspace(0, len(order) - 2, steps).astype(int):
        heads, ffn = np.ones((LAYERS, HEADS), bool), np.ones((LAYERS, NEURONS), bool)
        for unit in order[:step]:
            layer, place = divmod(int(unit), HEADS + 1)
            if place < HEADS:
                heads[layer, place] = False
            else:
                ffn[layer] = False
        gone = 1 - (heads.mean() + 2 * ffn.mean()) / 3
        metric = 0.5 + (worth - 0.5) * (1 - gone ** (3 + penalty)) + float(generator.normal(0, 0.004))
        measured = Measurement(
            metric=float(metric),
            metrics={"metric": float(metric)},
            compression=float(gone),
            compression_total=float(gone) / 2,
            parameters=round(2e7 - 1e7 * gone),
            encoder_parameters=round(1e7 * (1 - gone)),
            macs=round(5000 * (1 - gone)),
            size_mb=80 - 40 * float(gone),
            latency_ms=10 - 7 * float(gone),
            dense_latency_ms=10.0,
        )
        masks = Masks(heads, ffn, np.ones(LAYERS, bool))
        points.append(Point("curve", 0, float(step), measured, masks, labels.astype(np.int16)))
    chosen = points[steps // 2]
    better = replace(chosen.measurement, metric=min(chosen.measurement.metric + 0.03, 0.95))
    points.append(replace(chosen, kind="recovered", measurement=better))
    params: Params = load_space(method, file=None, pretrained=True).defaults()
    drawn: Params = {
        "penalty_strength": penalty,
        "learning_rate": float(10 ** generator.uniform(-5, -3.5)),
        "shape": str(generator.choice(["linear", "log"])),
        "recover_epochs": float(generator.integers(1, 4)),
    }
    params |= {key: value for key, value in drawn.items() if key in params}
    history = (HistoryRow("tune", 0, 1.0, {"train_loss": 0.5, "metric": 0.8}),)
    return TrialRecord(
        number, "complete", "", params, number, tuple(points), history, 3.0, 120.0, provenance=PROVENANCE
    )


def write_store(
    root: Path,
    *,
    seeds: int = 3,
    trials: int = 30,
    steps: int = 16,
    confirmed: bool = True,
    name: str = "sst2-minilm",
) -> list[str]:
    """Studies `NAME-snip`, `-seed1` ..., and the same of chance; gives their names."""
    store, names = Store(root), []
    for method, worth in (("snip", 0.9), ("chance", 0.8)):
        for seed in range(seeds):
            study = f"{name}-{method}" + (f"-seed{seed}" if seed else "")
            base = spec(study, method=method, task="sst2")
            store.write_spec(
                replace(
                    base, seed=seed, anchors=replace(ANCHORS, dense_parameters=20_000_000, dense_size_mb=80.0)
                )
            )
            generator = np.random.default_rng([seed, len(method)])
            for number in range(trials):
                penalty = float(10 ** generator.uniform(-1, 1.2))
                drawn = worth - 0.05 * abs(np.log10(penalty / 3)) + float(generator.normal(0, 0.01))
                store.study(study).write_record(_record(number, method, penalty, drawn, generator, steps))
            lost = TrialRecord(trials, "failed", "the loss is not a number: <b>penalty</b> too high", {}, 0)
            store.study(study).write_record(lost)
            store.study(study).gather()
            names.append(study)
            if confirmed:
                labels = [0, 1] * 100
                for point in (2, steps // 2, steps):
                    rows = [_with_errors(labels, 0.12 + 0.02 * point, generator) for _ in range(3)]
                    confirm(root, study, point, rows, labels)
    return names


def _with_errors(labels: list[int], rate: float, generator: np.random.Generator) -> list[int]:
    wrong = generator.random(len(labels)) < rate
    return [1 - label if miss else label for label, miss in zip(labels, wrong, strict=True)]
