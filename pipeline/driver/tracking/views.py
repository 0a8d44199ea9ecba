"""Views of studies and trials in MLflow: columns and their order, charts and their axes.

MLflow's own default is a table without a single metric. Its "share" button returns a link and stores the table's state
as a tag of the experiment, in JSON; these are such tags. MLflow does not document their form (this is that of 3.10 to
3.17): where another version reads it differently, its own default is shown, and nothing is lost.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from typing import Any

from pipeline.driver.tracking.published import BY_PERCENT, DENSE, SPEC, STANDING, STUDY, TRIAL
from pipeline.study.records import StudySpec

TAG = "mlflow.sharedViewState."
STUDIES = "studies"  # the view of all studies of a task
SECTION, HEADING = (
    "prunefront",
    "Front",
)  # sections stand in alphabetical order: before "training" and "unit_norm"
AXES = 3  # of parameters in a chart with parallel axes: more cannot be read in its small frame
LETTER_PX, LEAST_PX = 8, 90  # widths of columns

TRIAL_METRICS = ("metric", "compression", "parameters", "size_mb")
ZERO_METRICS = ("metric", "sparsity", "nonzero_parameters")  # of networks that have zeros, and all one size
STUDY_METRICS = (
    "hypervolume_normalised",
    "front_size",
    "metric_at_50_percent",
    DENSE,
    "constant_metric",
    STANDING,
    "trials_failed",
)
STUDY_PARAMS = ("model", "method", "sampler", "seed")


def studies_view() -> dict[str, str]:
    """Return the tag with the view of a task's studies: one row each, the best hypervolume first."""
    columns = [*_columns("metrics", STUDY_METRICS), *_columns("params", STUDY_PARAMS)]
    state = _table(columns, rule=f"tags.`{SPEC}` LIKE '%'", order="hypervolume_normalised", ascending=False)
    charts = [_line("hypervolume_normalised")]
    return {TAG + STUDIES: json.dumps(state | _charts(charts))}


def trials_view(spec: StudySpec) -> dict[str, str]:
    """Return the tag with the view of a study's trials: one row each, by compression, with the searched keys."""
    searched, share = searched_keys(spec), spec.share
    columns = [
        *_columns("metrics", ZERO_METRICS if spec.zeroes else TRIAL_METRICS),
        *_columns("params", searched),
        *_columns("metrics", ("epochs", "seconds")),
    ]
    rule = f"tags.`{STUDY}` = '{spec.name}' AND tags.`{TRIAL}` LIKE '%'"
    parallel = {
        "selectedParams": searched[:AXES],
        "selectedMetrics": [share, "metric"],
        "showAllRuns": False,
    }
    charts = [
        _chart("SCATTER", {"xaxis": _axis(share), "yaxis": _axis("metric")}),
        _line(BY_PERCENT[share]),
        _line("training/metric", over="training/epoch"),
        _chart("PARALLEL", parallel),
    ]
    state = _table(columns, rule=rule, order=share, ascending=True)
    return {TAG + spec.name: json.dumps(state | _charts(charts))}


def link(experiment_id: str, view: str, *, charts: bool = False) -> str:
    """Return the address of a view, within MLflow."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view}&workflowType=machine_learning{mode}"


def searched_keys(spec: StudySpec) -> list[str]:
    """Return the parameters that a study's space draws, in its order."""
    tables = tomllib.loads(spec.space_toml)
    return [
        key for key, table in tables.items() if isinstance(table, dict) and {"low", "choices"} & set(table)
    ]


def _columns(group: str, names: Sequence[str]) -> list[str]:
    return [f"{group}.`{name}`" for name in names]


def _table(columns: list[str], *, rule: str, order: str, ascending: bool) -> dict[str, Any]:
    return {
        "searchFilter": rule,
        "orderByKey": f"metrics.`{order}`",
        "orderByAsc": ascending,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {name: max(LEAST_PX, LETTER_PX * len(name.split("`")[1]) + 24) for name in columns},
        "runsHiddenMode": "SHOW_ALL",
    }


def _charts(charts: list[dict[str, Any]]) -> dict[str, Any]:
    section = {"uuid": SECTION, "name": HEADING, "display": True, "isReordered": False}
    numbered = [chart | {"uuid": f"{SECTION}-{index}"} for index, chart in enumerate(charts)]
    return {"compareRunCharts": numbered, "compareRunSections": [section]}


def _chart(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    base = {
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": SECTION,
        "deleted": False,
        "isGenerated": False,
    }
    return base | settings


def _line(metric: str, *, over: str | None = None) -> dict[str, Any]:
    """Return a chart of a metric over its steps, or over another metric."""
    across = (
        {"xAxisKey": "metric", "selectedXAxisMetricKey": over, "useGlobalXaxisKey": False} if over else {}
    )
    return _chart("LINE", {"metricKey": metric, "selectedMetricKeys": [metric], "lineSmoothness": 0} | across)


def _axis(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC"}
