"""What a report says, from its summary to its provenance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.columns import setting_columns, settings_alike
from pipeline.compare import Comparison, comparison_figures, sentences
from pipeline.figures import (
    curves_figure,
    front_figure,
    hours_figure,
    hypervolume_figure,
    importance_figure,
    parallel_figure,
    penalty_figure,
    promised_figure,
)
from pipeline.fronts import Front, FrontPoint
from pipeline.records import StudySpec
from pipeline.report.markup import Block, Markup, Picture, Section, bullets, paragraphs, table, text
from pipeline.report.reading import StudyView
from pipeline.space import parse_space
from pipeline.statistics import Interval

ZEROS = "Where single weights are zero, no network is smaller or faster than the dense one, in size, MACs or latency."
DROPS = (0.01, 0.02)  # what the summary looks for, below the dense metric
LINES, LEAST_LINES = (
    80,
    8,
)  # trials whose lines a page draws, shared among its studies; of each study at least


def report_sections(views: Sequence[StudyView], comparison: Comparison | None) -> list[Section]:
    """The sections of a page about studies; of several that can be compared, their comparison, too."""
    several = len(views) > 1
    found = [_summary(views, comparison), _fronts(views)]
    if comparison is not None and several:
        found.append(_compared(comparison))
    found += [_study(view, lines=max(LEAST_LINES, LINES // len(views)), several=several) for view in views]
    found.append(_provenance(views))
    return found


def _summary(views: Sequence[StudyView], comparison: Comparison | None) -> Section:
    blocks: list[Block] = []
    if comparison is not None and len(comparison.groups) > 1:
        blocks.append(bullets(sentences(comparison)))
    if len(views) == 1:
        blocks.append(bullets([_what(views[0]), *_in_words(views[0])]))
    else:
        blocks.append(bullets([f"{view.front.spec.name}: {_what(view)} {_ends_at(view)}" for view in views]))
    return Section("summary", "Summary", tuple(blocks))


def _what(view: StudyView) -> str:
    front, spec = view.front, view.front.spec
    if not front.points:
        return f"{spec.approach} on {spec.task} with {spec.model}: no finished trial stands on a front yet."
    return (
        f"{spec.approach} on {spec.task} with {spec.model}: {front.trials} trials, {front.seen} networks measured, "
        f"{len(front.points)} on the front. Hypervolume {front.hypervolume:.4f}, "
        f"{100 * front.hypervolume_normalised:.1f} % of what is possible."
    )


def _ends_at(view: StudyView) -> str:
    knee = view.front.knee
    return "" if knee is None else f"At its knee: {_point(knee, view.front.spec)}."


def _in_words(view: StudyView) -> list[str]:
    """What a reader of one study wants to know first."""
    front, spec = view.front, view.front.spec
    if front.knee is None:
        return []
    said: dict[str, str] = {}  # by the point that is told: one that meets two bounds is told once
    for drop in DROPS:
        fit = [point for point in front.points if point.metric >= spec.anchors.dense - drop]
        if fit:
            bound = f"{100 * drop:.0f} point{'s' if drop > DROPS[0] else ''}"
            said.setdefault(
                _point(max(fit, key=_gain), spec),
                f"Within {bound} of the dense network ({spec.anchors.dense:.4f})",
            )
    said.setdefault(_point(front.knee, spec), "At the front's knee")
    return [*(f"{when}: {point}." for point, when in said.items()), *_how_sure(view)]


def _how_sure(view: StudyView) -> list[str]:
    front, spec = view.front, view.front.spec
    confirmed = view.confirmed.points if view.confirmed is not None else ()
    over = [point.optimism.mean for point in confirmed if point.metric.count]
    said = [
        f"These metrics are on the {spec.validation_rows} validation rows that chose the front; `confirm` measures "
        "them on test rows and fresh seeds."
    ]
    if over and view.confirmed is not None:
        said = [
            f"On {len(view.confirmed.labels)} test rows and fresh seeds the {len(over)} confirmed points are on "
            f"average {sum(over) / len(over):.4f} below what the front promised."
        ]
    left = sum(front.left_out.values())
    if left:
        said.append(f"{left} of the trials stand on no front: {_reasons(front)}.")
    return said


def _gain(point: FrontPoint) -> float:
    return point.gain


def _point(point: FrontPoint, spec: StudySpec) -> str:
    if spec.zeroes:
        return (
            f"{100 * point.sparsity:.1f} % of the encoder's parameters zero at {point.metric:.4f} (trial "
            f"{point.trial}, {point.kind})"
        )
    latency = ""
    if point.latency_ms and point.dense_latency_ms:
        latency = f", {point.dense_latency_ms / point.latency_ms:.2f} times as fast"
    return (
        f"{100 * point.compression:.1f} % of the encoder gone at {point.metric:.4f}, "
        f"{point.parameters / 1e6:.2f} M parameters left{latency} (trial {point.trial}, {point.kind})"
    )


def _reasons(front: Front) -> str:
    return "; ".join(f"{count} × {reason}" for reason, count in front.reasons.items())


def _fronts(views: Sequence[StudyView]) -> Section:
    """One panel of networks that were cut, one of networks with zeros: they share no front."""
    cut = [view for view in views if not view.front.spec.zeroes]
    zeroed = [view for view in views if view.front.spec.zeroes]
    blocks: list[Block] = [_panel(panel, "front", "The front") for panel in (cut or zeroed,)]
    if cut and zeroed:
        blocks.append(_panel(zeroed, "front-sparsity", "The front of single weights"))
    if zeroed:
        blocks.append(paragraphs(ZEROS))
    blocks.append(
        Markup(
            '<div id="network" class="card" aria-live="polite" tabindex="-1"><h3>The network of a point</h3><p>'
            "Click a mark above, or press a button in the table: this shows which heads and blocks of it are gone, "
            "layer by layer.</p></div>"
        )
    )
    if len(views) == 1 and views[0].front.points:
        blocks.append(_front_table(views[0]))
    return Section("fronts", "Front", tuple(blocks))


def _panel(views: Sequence[StudyView], name: str, title: str) -> Picture:
    series = [view.series for view in views]
    says = "; ".join(
        f"{view.front.spec.name}: from {view.front.points[0].metric:.3f} at "
        f"{100 * view.front.points[0].gain:.0f} % to {view.front.points[-1].metric:.3f} at "
        f"{100 * view.front.points[-1].gain:.0f} %"
        for view in views
        if view.front.points
    )
    return Picture(
        name, title, front_figure(series), f"Metric against {series[0].spec.second.label}. {says}."
    )


def _front_table(view: StudyView) -> Markup:
    front, spec = view.front, view.front.spec
    anchors = spec.anchors
    keys = [*setting_columns(front), "learning_rate"]
    fast = any(point.latency_ms for point in front.points)
    second = [] if spec.objective == spec.share else [spec.second.short]
    sizes = ["non-zero"] if spec.zeroes else ["parameters", "MACs"]
    head = ["", spec.share, *second, spec.metric_name, "vs dense", *sizes]
    head += (["latency"] if fast else []) + ["kind", *keys]
    rows = [
        [
            f'<button type="button" data-point="{text(f"{spec.name}/{point.trial}/{point.point}")}">trial '
            f"{point.trial}, point {point.point}</button>",
            f"{100 * getattr(point, spec.share):.1f} %",
            *([f"{100 * point.gain:.1f} %"] if second else []),
            f"{point.metric:.4f}",
            f"{point.metric - anchors.dense:+.4f}",
            *_sizes(point, spec),
            *([f"{point.latency_ms:.3g} ms" if point.latency_ms else "–"] if fast else []),
            point.kind,
            *(short(point.params.get(key)) for key in keys),
        ]
        for point in front.points
    ]
    alike = ", ".join(f"{key} {short(value)}" for key, value in settings_alike(front).items())
    caption = f"The front of {spec.name}, point by point" + (f"; all of them: {alike}" if alike else "")
    return table(caption, head, rows, first_is_markup=True)


def _sizes(point: FrontPoint, spec: StudySpec) -> list[str]:
    if spec.zeroes:
        return [f"{(point.nonzero_parameters or 0) / 1e6:.2f} M"]
    return [f"{point.parameters / 1e6:.2f} M", f"{100 * point.macs / spec.anchors.dense_macs:.0f} %"]


def _compared(comparison: Comparison) -> Section:
    figures = comparison_figures(comparison)
    panel = comparison.test or comparison.validation
    spec = comparison.groups[0].spec
    gains = ("25 %", "50 %", "75 %")
    blocks: list[Block] = [
        Picture("bands", "Fronts over seeds", figures[0], "The median front of each group, and its band."),
        Picture("volumes", "Hypervolume", figures[1], "Means with 95 % intervals; the table below has them."),
        table(
            f"Means over seeds with 95 % intervals, on {panel.rows} rows",
            [
                "study",
                "seeds",
                "hypervolume",
                "of possible",
                *(f"{spec.metric_name} at {gain}" for gain in gains),
            ],
            [
                [
                    worth.label,
                    len(worth.seeds),
                    mean(worth.hypervolume),
                    f"{100 * worth.hypervolume_normalised.mean:.1f} %",
                    *(
                        mean(at) if lost < at.count else "no network so small"
                        for at, lost in zip(worth.metric_at, worth.without, strict=True)
                    ),
                ]
                for worth in panel.worths
            ],
        ),
        table(
            "Differences (the first minus the second); real = called after Holm's correction",
            ["pair", "of", "difference", "95 % interval", "p, corrected", "real"]
            + (["on resampled rows"] if panel.rows == "test" else []),
            [
                [
                    f"{test.first} − {test.second}",
                    test.quantity,
                    f"{test.difference.mean:+.4f}",
                    _ends(test.difference.low, test.difference.high),
                    short(test.corrected),
                    "yes" if test.real else "no",
                    *(
                        [_ends(test.rows.low, test.rows.high) if test.rows else "–"]
                        if panel.rows == "test"
                        else []
                    ),
                ]
                for test in panel.tests
            ],
        ),
    ]
    return Section("compared", "Compared", tuple(blocks))


def _study(view: StudyView, *, lines: int, several: bool) -> Section:
    """What is shown of each study; of several, folded."""
    spec = view.front.spec
    key = spec.name.replace(".", "-")
    blocks: list[Block] = [_front_table(view)] if several and view.front.points else []
    blocks += _confirmed(view, key)
    if any(trial.recovered for trial in view.trials):
        keys = [
            name
            for name in parse_space(spec.space_toml).distributions()
            if name not in ("threshold", "target")
        ]
        keys += [name for name in ("threshold", "target") if name in view.trials[0].params]
        blocks += [
            Picture(
                f"curves-{key}",
                "Curves",
                curves_figure(view.series, most=lines),
                "Each trial's metric as it is cut further.",
            ),
            Picture(
                f"growth-{key}",
                "Hypervolume over trials",
                hypervolume_figure([view.series]),
                f"It ends at {view.front.hypervolume_normalised:.4f} of what is possible.",
            ),
            Picture(
                f"hours-{key}",
                "Hypervolume over hours",
                hours_figure([view.series], [view.seconds]),
                f"All trials together trained {view.front.seconds / 3600:.2f} hours.",
            ),
            Picture(
                f"parallel-{key}",
                "Settings side by side",
                parallel_figure(view.series, keys, most=2 * lines),
                "One line a trial over its settings, compression and metric.",
            ),
        ]
        blocks += _what_decides(view, key)
    if view.left_out:
        blocks.append(table("Trials that stand on no front", ["trial", "state", "reason"], view.left_out))
    return Section(f"study-{key}", spec.name if several else "Trials", tuple(blocks), fold=several)


def _what_decides(view: StudyView, key: str) -> list[Block]:
    blocks: list[Block] = []
    profile = view.profile
    if profile is not None:
        bands = [(band.low, band.high, band.hypervolume, band.error) for band in profile.bands]
        figure = penalty_figure(bands, key=profile.key, good=(profile.low, profile.high))
        blocks.append(Picture(f"penalty-{key}", "Which penalty", figure, profile.sentence))
        blocks.append(paragraphs(profile.sentence))
    if view.importance:
        said = "; ".join(
            f"{name}: " + ", ".join(f"{setting} {share:.0%}" for setting, share in list(shares.items())[:3])
            for name, shares in view.importance.items()
        )
        blocks.append(Picture(f"importance-{key}", "What decides", importance_figure(view.importance), said))
    return blocks


def _confirmed(view: StudyView, key: str) -> list[Block]:
    confirmed = view.confirmed
    if confirmed is None:
        return []
    points = [point for point in confirmed.points if point.metric.count]
    rows = [(p.gain.mean, p.selected, p.metric.mean, p.metric.high - p.metric.mean) for p in points]
    spec = confirmed.spec
    figure = promised_figure(rows, metric=spec.metric_name, gain=spec.second.label)
    return [
        Picture(f"confirmed-{key}", "Promised and found", figure, "The table below has the numbers."),
        table(
            f"Confirmed on fresh seeds and {len(confirmed.labels)} test rows, means with 95 % intervals",
            ["point", spec.share, "promised", "found", "sd", "optimism", "seeds", "failed"],
            [
                [
                    f"trial {p.trial}, point {p.point}",
                    f"{100 * getattr(p, spec.share).mean:.1f} %",
                    f"{p.selected:.4f}",
                    mean(p.metric),
                    short(p.metric.deviation),
                    mean(p.optimism),
                    p.metric.count,
                    p.failed,
                ]
                for p in points
            ],
        ),
    ]


def _provenance(views: Sequence[StudyView]) -> Section:
    blocks: list[Block] = []
    for view in views:
        spec, front = view.front.spec, view.front
        facts = {
            "task": spec.task,
            "rows (sha256)": spec.task_fingerprint,
            "validation rows": spec.validation_rows,
            "model": spec.model,
            "model (fingerprint)": spec.model_fingerprint,
            "method": spec.method,
            "distilled by": spec.distill,
            "sampler": spec.sampler,
            "seed": spec.seed,
            "precision": spec.precision,
            "objective": spec.objective,
            "dense metric": f"{spec.anchors.dense:.4f} (learning rate {spec.anchors.dense_learning_rate:g})",
            "constant metric": f"{spec.anchors.constant:.4f}",
            "trained": f"{front.epochs:g} epochs, {front.seconds / 3600:.2f} hours",
            **view.provenance,
        }
        blocks.append(table(f"What made {spec.name}", ["what", "value"], list(facts.items())))
        blocks.append(
            Markup(
                f"<details><summary>What was searched in {text(spec.name)}</summary><pre>{text(spec.space_toml)}</pre>"
                "</details>"
            )
        )
    return Section("provenance", "Provenance", tuple(blocks), fold=True)


def mean(found: Interval) -> str:
    """Mean ± half of the 95 % interval."""
    reach = found.high - found.mean
    return f"{found.mean:.4f}" + (f" ± {reach:.4f}" if math.isfinite(reach) else "")


def short(value: object) -> str:
    """A number to three digits; a dash for what is not there."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _ends(low: float, high: float) -> str:
    return f"{low:+.4f} to {high:+.4f}" if math.isfinite(low) else "–"
