"""The section about one study: its trials, the importance of settings, its confirmed points."""

from __future__ import annotations

from pipeline.fronts.bounds import lowest_metric
from pipeline.fronts.figures import (
    curves_figure,
    hours_figure,
    hypervolume_figure,
    importance_figure,
    parallel_figure,
    penalty_figure,
    promised_figure,
)
from pipeline.fronts.numbers import VOLUME, short, volume
from pipeline.fronts.report.front import front_table
from pipeline.fronts.report.markup import Block, Picture, Section, bullets, paragraphs, table
from pipeline.fronts.report.reading import StudyView
from pipeline.fronts.report.words import DROPS, in_words
from pipeline.study.space import parse_space

FEW_TRIALS = 8


def study_section(view: StudyView, *, lines: int, several: bool) -> Section:
    """Return the section of a study, with at most `lines` lines a figure; one of several studies is folded."""
    spec = view.front.spec
    key = spec.name.replace(".", "-")
    blocks: list[Block] = [front_table(view)] if several and view.front.points else []
    if view.front.remarks:
        blocks.append(bullets(list(view.front.remarks)))
    blocks += _confirmed(view, key)
    if any(trial.recovered for trial in view.trials):
        blocks += _pictures(view, key, lines=lines)
        blocks += _what_decides(view, key)
    if view.left_out:
        blocks.append(
            table("Trials that are left out of the front", ["trial", "state", "reason"], view.left_out)
        )
    return Section(f"study-{key}", spec.name if several else "Trials", tuple(blocks), several, _lead(view))


def _lead(view: StudyView) -> str:
    """Return a study in a line: the smallest network within a point of dense; if there is none, the best."""
    spec, points = view.front.spec, view.front.points
    trials = f"{view.front.trials} trials"
    if near := [point for point in points if point.metric >= lowest_metric(spec.anchors.dense, DROPS[0])]:
        return f"{trials}; {in_words(near[-1], spec)}"
    if not points:
        return f"{trials}; {view.front.why_empty}"
    return f"{trials}; none within a point of dense, the best: {in_words(points[0], spec)}"


def _pictures(view: StudyView, key: str, *, lines: int) -> list[Block]:
    keys = _by_importance(view)
    ends_at, hours = view.front.hypervolume_normalised, view.front.seconds / 3600
    hours_too = [
        Picture(
            f"hours-{key}",
            "Hypervolume over hours",
            hours_figure([view.whole], [view.seconds]),
            f"All trials together trained {hours:.2f} hours.",
        )
    ]
    if len(view.trials) < FEW_TRIALS:  # of few trials it is the picture over trials once more
        hours_too = []
    return [
        Picture(
            f"curves-{key}",
            "Curves",
            curves_figure(view.curves, most=lines),
            "Each trial's metric as it is cut further.",
        ),
        Picture(
            f"growth-{key}",
            "Hypervolume over trials",
            hypervolume_figure([view.whole]),
            f"It ends at {volume(ends_at)} ({VOLUME}).",
        ),
        *hours_too,
        Picture(
            f"parallel-{key}",
            "Settings side by side",
            parallel_figure(view.series, keys, most=2 * lines),
            "One line a trial over its settings, compression and metric.",
        ),
    ]


def _by_importance(view: StudyView) -> list[str]:
    """Return the searched settings, those first that the metric depends on most, as far as that is known."""
    shares = next(iter(view.importance.values()), {})
    return sorted(_searched(view), key=lambda name: -shares.get(name, 0.0))


def _searched(view: StudyView) -> list[str]:
    """Return the settings that are searched, threshold or target last."""
    found = parse_space(view.front.spec.space_toml).distributions()
    cutting = ("threshold", "target")
    return [name for name in found if name not in cutting] + [
        name for name in cutting if name in view.trials[0].params
    ]


def _what_decides(view: StudyView, key: str) -> list[Block]:
    blocks: list[Block] = []
    profile = view.profile
    if profile is not None:
        bands = [(band.low, band.high, band.hypervolume, band.error) for band in profile.bands]
        figure = penalty_figure(bands, key=profile.key, good=(profile.low, profile.high))
        blocks.append(Picture(f"penalty-{key}", "Which penalty", figure, profile.sentence))
        blocks.append(paragraphs(profile.sentence))
    if view.importance:
        words = "; ".join(
            f"{name}: " + ", ".join(f"{setting} {share:.0%}" for setting, share in list(shares.items())[:3])
            for name, shares in view.importance.items()
        )
        blocks.append(Picture(f"importance-{key}", "What decides", importance_figure(view.importance), words))
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
                    f"{p.metric:.4f}",
                    short(p.metric.deviation),
                    f"{p.optimism:.4f}",
                    p.metric.count,
                    p.failed,
                ]
                for p in points
            ],
        ),
    ]
