"""Names and notes (Markdown) of tasks, studies and trials in MLflow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.driver.tracking.published import BY_PERCENT, CURVE, FRONT, clipped
from pipeline.fronts.front import Front, FrontPoint
from pipeline.fronts.numbers import VOLUME, mb, millions, volume
from pipeline.study.records import StudySpec, TrialRecord

NOTE_ROWS = 18  # of a front: a note has 8,000 characters
NOTE_REASONS = 5
REASON_LETTERS = 60  # in a run's name


def experiment_name(task: str) -> str:
    """Return the name of the experiment of a task's studies."""
    return f"prunefront/{task}"


def experiment_note(task: str, *, studies: str) -> str:
    """Return the note above an experiment's runs; `studies` is a link to a table of them."""
    return (
        f"Pareto fronts of metric against compression on `{task}`, found by prunefront: [the studies]({studies}).\n\n"
        "A run at the top is a **study**: one model, one method, one search space. The runs below it are its "
        "**trials**: `metric` (validation, higher is better) and `compression` (the share of the encoder's "
        "parameters that is gone; of methods on single weights `sparsity`, the share that is zero) are those of a "
        "trial's cut and recovered network, its `curve.json` has the networks on the way there. A study's front is in "
        "its `front.html`, `front.png` and `front.json`."
    )


def study_intro(spec: StudySpec) -> str:
    """Return what a study is, in a sentence."""
    return (
        f"Pareto front of `{spec.model}` on `{spec.task}`, method `{spec.approach}`, objective `{spec.objective}`, "
        f"sampler `{spec.sampler}`."
    )


def study_note(found: Front, *, table: str, charts: str) -> str:
    """Return the note on a study's page, its front as a table; `table` and `charts` are links to its trials."""
    spec, anchors = found.spec, found.spec.anchors
    timed = ["ms"] if found.bench is not None else []
    left_out = ", ".join(f"{count} {state}" for state, count in found.left_out.items() if count)
    lines = [
        study_intro(spec),
        "",
        f"**{len(found.points)} networks** on the front, from {found.trials} trials"
        + (f" ({left_out})" if left_out else "")
        + f": [table]({table}), [charts]({charts}).",
        "",
        f"Normalised hypervolume **{volume(found.hypervolume_normalised)}** ({VOLUME}). "
        f"Dense {spec.metric_name}: **{anchors.dense:.4f}**; the best constant prediction: {anchors.constant:.4f}.",
        "",
        _row(spec.share, spec.metric_name, "vs dense", "parameters", "size", "MACs", *timed, "trial", "kind"),
        "|---" * (8 + len(timed)) + "|",
        _dense_row(found),
        *(_point_row(point, spec, timed=bool(timed)) for point in _thinned(found.points)),
    ]
    if len(found.points) > NOTE_ROWS:
        lines += ["", f"{NOTE_ROWS} of {len(found.points)} rows; all are in `{FRONT}`."]
    if spec.zeroes:
        lines += ["", "Single weights are zero: no network is smaller or faster than the dense one."]
    for reason, count in sorted(found.reasons.items(), key=lambda item: -item[1])[:NOTE_REASONS]:
        lines += ["", f"Left out, {count} ×: {clipped(reason)}"]
    return "\n".join(lines)


def trial_name(record: TrialRecord) -> str:
    """Return the name of a trial's run: its result, or why it has none."""
    point = record.recovered
    if record.state == "complete" and point is not None:
        measured = point.measurement
        end = f"{measured.metric:.3f} @ {100 * measured.share:.0f} %"
    else:
        reason = record.reason
        short = reason if len(reason) <= REASON_LETTERS else reason[: REASON_LETTERS - 1].rstrip() + "…"
        end = f"{record.state}: {short}" if reason else record.state
    return f"trial {record.number:04d} · {end}"


def trial_note(record: TrialRecord, spec: StudySpec) -> str:
    """Return the note on a trial's page."""
    anchors, lines = spec.anchors, []
    if record.state != "complete":
        lines.append(f"**{record.state}**: {clipped(record.reason)} (epochs trained: {record.epochs:g})")
    elif record.reason:
        lines.append(f"Remark: {clipped(record.reason)}")
    if record.recovered is not None:
        found = record.recovered.measurement
        lines.append(
            f"{spec.metric_name} **{found.metric:.4f}** at **{100 * found.share:.1f} %** {spec.share} "
            f"(dense {anchors.dense:.4f}, constant {anchors.constant:.4f}): {found.parameters / 1e6:.2f} M parameters, "
            f"{mb(found.size_mb)} MB, {found.macs / 1e6:.1f} M multiply-accumulates a row."
        )
    if record.points:
        lines.append(
            f"The networks on the way there are in `{CURVE}`, and in the chart `{BY_PERCENT[spec.share]}`, whose steps "
            "are percent."
        )
    return "\n\n".join(lines)


def _thinned(points: tuple[FrontPoint, ...]) -> Iterator[FrontPoint]:
    """Yield at most NOTE_ROWS points, evenly chosen, both ends among them."""
    places = np.linspace(0, len(points) - 1, min(NOTE_ROWS, len(points))).round().astype(int)
    return (points[place] for place in places)


def _dense_row(found: Front) -> str:
    anchors = found.spec.anchors
    dense_ms = found.dense_latency_ms
    times = [] if found.bench is None else ["" if dense_ms is None else f"{dense_ms:.3g} (1.0 ×)"]
    return _row(
        "0.0 %",
        f"{anchors.dense:.4f}",
        "",
        f"{anchors.dense_parameters / 1e6:.2f} M",
        f"{mb(anchors.dense_size_mb)} MB",
        millions(anchors.dense_macs),
        *times,
        "",
        "dense",
    )


def _point_row(point: FrontPoint, spec: StudySpec, *, timed: bool) -> str:
    return _row(
        f"{100 * getattr(point, spec.share):.1f} %",
        f"{point.metric:.4f}",
        f"{point.metric - spec.anchors.dense:+.4f}",
        f"{point.parameters / 1e6:.2f} M",
        f"{mb(point.size_mb)} MB",
        millions(point.macs),
        *_milliseconds(point, timed=timed),
        str(point.trial),
        point.kind,
    )


def _milliseconds(point: FrontPoint, *, timed: bool) -> list[str]:
    """Return the latency cell of a timed study; ~ marks a value from the table of blocks, ? a busy machine."""
    if not timed:
        return []
    if point.latency_ms is None or point.speedup is None:
        return [""]
    return [f"{point.latency} ({point.speedup:.1f} ×)"]


def _row(*cells: str) -> str:
    """Return a row of a Markdown table; MLflow shows tables without any space between columns."""
    return f"| {'&emsp; | '.join(cells)} |"
