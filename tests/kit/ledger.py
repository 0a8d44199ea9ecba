"""A small real space, specs, records and drivers for the tests of the ledger."""

from __future__ import annotations

from collections import deque

import numpy as np
import optuna

from pipeline.study.ledger.ledger import Ledger, open_ledger
from pipeline.study.records import Anchors, Ask, Masks, Measurement, Point, StudySpec, TrialRecord
from pipeline.study.space.space import parse_space

# one key that every trial draws, two that hang on another, one that none draws
SPACE = parse_space(
    """
[penalty]
low = 0.001
high = 10.0
log = true
default = 0.01
spread = [0.1, 1.0, 5.0]
[mode]
choices = ["off", "relative"]
default = "off"
spread = ["relative", "off", "off"]
[bound]
low = 0.5
high = 2.0
default = 1.0
when = { mode = "relative" }
[steps]
low = 1
high = 9
default = 3
when = { mode = "off" }
[threshold]
value = 0.5
"""
)
STARTS = SPACE.starts()


def spec_of(sampler: str = "tpe", *, seed: int = 0, name: str = "s") -> StudySpec:
    anchors = Anchors(0.5, 0.9, 2e-5, 9.0, 1000, 800, 10_000, 0.004)
    return StudySpec(
        name,
        "toy",
        "rows",
        "accuracy",
        100,
        "tiny",
        "weights",
        "snip",
        SPACE.toml,
        sampler,
        seed,
        "fp32",
        anchors,
    )


def record_of(
    ask: Ask,
    metric: float | None = None,
    *,
    compression: float | None = None,
    state: str = "complete",
    reason: str = "",
) -> TrialRecord:
    """The record of a trial whose compression rises, and whose metric falls, with its penalty."""
    if state != "complete":
        return TrialRecord(ask.number, state, reason, ask.params, ask.seed)
    penalty = float(ask.params["penalty"])
    metric = 1 / (1 + penalty * float(ask.params["bound"])) if metric is None else metric
    compression = penalty / (1 + penalty) if compression is None else compression
    measured = Measurement(metric, {}, compression, 0.0, 1, 1, 1, 1.0)
    point = Point("recovered", 1, 0.0, measured, Masks.full(1, 1, 1), np.zeros(1))
    return TrialRecord(ask.number, "complete", reason, ask.params, ask.seed, points=(point,))


def ledger_at(url: str, spec: StudySpec | None = None, *, trials: int = 20) -> Ledger:
    return open_ledger(url, spec or spec_of(), SPACE, trials=trials)


def optuna_study(url: str, name: str = "s") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=url)


def draws(url: str, spec: StudySpec, *, ask: int, reopen_every: int, trials: int = 20) -> list[Ask]:
    """Asks for trials of a study of `trials`, two of which always run, with a new driver now and then."""
    asks: list[Ask] = []
    running: deque[Ask] = deque()
    for done in range(ask):
        if done % reopen_every == 0:
            ledger = ledger_at(url, spec, trials=trials)
            assert ledger.owed() == tuple(running)
        asks.append(ledger.ask())
        running.append(asks[-1])
        if len(running) > 2:
            ledger.tell(record_of(running.popleft()))
    return asks


def ask_forever(url: str) -> None:
    """A driver that asks and tells until it is killed."""
    ledger = ledger_at(url)
    while True:
        ask = ledger.ask()
        print(ask.number, flush=True)
        if ask.number % 2:
            ledger.tell(record_of(ask))
