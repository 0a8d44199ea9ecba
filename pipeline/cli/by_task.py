"""The table of `prunefront best --by-task`: one row per task, model and method."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.columns import Column, print_table
from pipeline.cli.output import err, out, print_json
from pipeline.fronts.numbers import percent, short
from pipeline.fronts.setting_columns import columns_of, columns_of_any
from pipeline.study.records import BadInput, Params
from pipeline.study.space import ALLOCATION_KEYS, parse_space

if TYPE_CHECKING:
    from pipeline.fronts.hyperparameters import Choice

MOST_IMPORTANT = 3  # settings of an objective that are named


def show_by_task(
    choices: list[Choice], *, csv_file: Path | None, figures: Path | None, as_json: bool
) -> None:
    """Print the choices; also write them as csv and as figures where a path is given."""
    rows = [row_of(choice) for choice in choices]
    if csv_file is not None:
        _write_csv(csv_file, rows)
    if figures is not None:
        _write_figures(figures, choices)
    if as_json:
        print_json({"rows": rows})
        return
    _print_table(choices)
    for choice in choices:
        for line in _sentences(choice):
            out.print(f"• {line}")


def row_of(choice: Choice) -> dict[str, Any]:
    """Return a choice as plain values, one per column."""
    from pipeline.fronts.hyperparameters import importances

    point, metric, profile = choice.point, choice.metric, choice.profile
    params: Params = {} if point is None else point.params
    important = importances(choice.spec, choice.trial_fronts)
    return {
        "task": choice.task,
        "model": choice.model,
        "method": choice.method,
        "study": choice.study,
        "studies": len(choice.studies),
        "seeds": len(choice.seeds),
        "trials": choice.trials,
        "trial": None if point is None else point.trial,
        "kind": None if point is None else point.kind,
        **_settings(choice.method, params),
        "learning_rate": params.get("learning_rate"),
        "metric_name": choice.metric_name,
        "metric": None if metric is None else metric.mean,
        "metric_low": None if metric is None else metric.low,
        "metric_high": None if metric is None else metric.high,
        "metric_from": choice.metric_from,
        "dense": choice.dense,
        "compression": None if point is None else point.compression,
        "sparsity": None if point is None else point.sparsity,
        "speed_up": choice.speed_up,
        "penalty_low": None if profile is None else profile.low,
        "penalty_high": None if profile is None else profile.high,
        "penalties_told_apart": None if profile is None else profile.distinguishable,
        "trials_needed": None if profile is None else profile.trials_needed,
        "importance": important,
        "why_none": choice.why_none or None,
    }


def _settings(method: str, params: Params) -> Params:
    """Return the settings of a row, by the names of their columns."""
    row: dict[str, Any] = {}
    for column in columns_of_any(method):
        if column.further:
            in_force = column.key_in_force(params)
            row[column.key] = params.get(column.key)
            row[column.name] = None if in_force is None else params[in_force]
        else:
            row[column.name] = params.get(column.key)
    return row


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    if not path.parent.is_dir():
        raise BadInput(f"--csv is {path}, and there is no folder {path.parent}. Make it, or name another.")
    flat = [{name: value for name, value in row.items() if name != "importance"} for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file, restval="", fieldnames=list(dict.fromkeys(name for row in flat for name in row))
        )
        writer.writeheader()
        writer.writerows(
            {name: "" if _missing(value) else value for name, value in row.items()} for row in flat
        )
    err.print(f"Wrote {path}.", markup=False, soft_wrap=True)


def _write_figures(folder: Path, choices: list[Choice]) -> None:
    from pipeline.fronts.hyperparameters import LEAST_TRIALS, write_profiles

    for path in write_profiles(folder, choices):
        err.print(f"Wrote {path}.", markup=False, soft_wrap=True)
    for one in choices:
        if one.profile is None:
            needs = f"it needs {LEAST_TRIALS} trials with penalties that differ"
            why = needs if _has_penalty(one) else f"{one.method} has no penalty"
            name = f"{one.task}, {one.model}, {one.method}"
            err.print(f"No figure of {name}: {why}.", markup=False, soft_wrap=True)


def _has_penalty(choice: Choice) -> bool:
    from pipeline.fronts.hyperparameters import PENALTY

    return PENALTY in parse_space(choice.spec.space_toml).keys


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _print_table(choices: list[Choice]) -> None:
    fast = any(choice.speed_up for choice in choices)
    own = _own_columns(choices)
    names = (Column(name, right=False, shortens=True) for name in ("task", "model", "method"))
    columns = [
        *names,
        Column("penalty", 1),
        Column("good from … to", 5),
        Column("threshold", 6),
        *(Column(name, 9) for name in own),
        Column("lr", 8),
        Column("metric"),
        Column("vs dense", 2),
        Column("compr."),
    ]
    rows = [(choice.task, choice.model, choice.method, *_cells(choice, own)) for choice in choices]
    if fast:
        columns.append(Column("speed-up", 3))
        rows = [
            (*row, f"{choice.speed_up:.2f} ×" if choice.speed_up else "–")
            for row, choice in zip(rows, choices, strict=True)
        ]
    print_table(columns, rows)


def _own_columns(choices: list[Choice]) -> list[str]:
    """Return the settings that single methods have a column for, beside penalty, threshold and target."""
    names = [column.name for choice in choices for column in columns_of(choice.method)]
    return [name for name in dict.fromkeys(names) if name not in ("penalty", *ALLOCATION_KEYS)]


def _cells(choice: Choice, own: list[str]) -> list[str]:
    from pipeline.fronts.hyperparameters import PENALTY

    point, metric, profile = choice.point, choice.metric, choice.profile
    band = "–" if profile is None else f"{profile.low:.3g} … {profile.high:.3g}"
    if point is None or metric is None:
        return ["–", band, "–", *("–" for _ in own), "–", "–", "–", "–"]
    params = point.params
    columns = {column.name: column.values(params) for column in columns_of(choice.method)}
    return [
        short(params.get(PENALTY, "–")),
        band,
        short(params.get("threshold", params.get("target", "–"))),
        *(" ".join(map(short, columns.get(name, ()))) or "–" for name in own),
        short(params.get("learning_rate", "–")),
        f"{metric:.4f}",
        f"{metric.mean - choice.dense:+.4f}",
        f"{percent(point.sparsity)} zero" if choice.spec.zeroes else percent(point.compression),
    ]


def _sentences(choice: Choice) -> list[str]:
    """Return how certain a row is, and which settings matter most."""
    from pipeline.fronts.hyperparameters import LEAST_TRIALS, importances

    name = f"{choice.task}, {choice.model}, {choice.method}"
    if choice.point is None:
        return [f"{name}: {choice.why_none}"]
    sentences = [f"{name}: metric on {choice.metric_from or 'validation'}."]
    profile = choice.profile
    if profile is None and choice.trials < LEAST_TRIALS and _has_penalty(choice):
        sentences[0] += f" {choice.trials} of the {LEAST_TRIALS} trials that a comparison of penalties needs."
    elif profile is not None:
        sentences[0] += " " + profile.sentence
    for objective, shares in importances(choice.spec, choice.trial_fronts).items():
        largest = ", ".join(f"{key} {share:.0%}" for key, share in list(shares.items())[:MOST_IMPORTANT])
        sentences[0] += f" Most important for {objective}: {largest}."
    return sentences
