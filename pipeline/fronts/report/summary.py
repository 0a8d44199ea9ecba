"""The summary at the head of a report."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.fronts.bounds import lowest_metric
from pipeline.fronts.compare import Comparison, sentences
from pipeline.fronts.front import Front, FrontPoint
from pipeline.fronts.numbers import VOLUME, volume
from pipeline.fronts.report.markup import Block, Markup, Section, bullets, table
from pipeline.fronts.report.reading import StudyView
from pipeline.fronts.report.words import DROPS, in_words

MOST_SENTENCES = 3  # studies that a summary has sentences about; of more it has a table


def summary_section(views: Sequence[StudyView], comparison: Comparison | None) -> Section:
    """Return the summary: which study is better, if several can be compared; then a few sentences per study."""
    blocks: list[Block] = []
    if comparison is not None and len(comparison.groups) > 1:
        blocks.append(bullets(sentences(comparison)))
    if len(views) == 1:
        blocks.append(bullets([_what(views[0]), *_first_of_all(views[0])]))
    elif len(views) <= MOST_SENTENCES:
        blocks.append(bullets([f"{view.front.spec.name}: {_what(view)} {_ends_at(view)}" for view in views]))
    else:
        blocks.append(_at_a_glance(views))
    return Section("summary", "Summary", tuple(blocks))


def _at_a_glance(views: Sequence[StudyView]) -> Markup:
    """Return a table of many studies, a row each."""
    rows = []
    for view in views:
        front, knee = view.front, view.front.knee
        rows.append(
            [
                front.spec.name,
                front.spec.approach,
                front.trials,
                front.seen,
                len(front.points),
                f"{front.hypervolume:.4f}",
                volume(front.hypervolume_normalised),
                "–" if knee is None else f"{knee.metric:.4f} at {100 * knee.gain:.1f} %",
            ]
        )
    head = [
        "study",
        "method",
        "trials",
        "networks",
        "on the front",
        "hypervolume",
        "normalised",
        "at the knee",
    ]
    return table(f"{len(views)} studies", head, rows)


def _what(view: StudyView) -> str:
    front, spec = view.front, view.front.spec
    if not front.points:
        return f"{spec.approach} on {spec.task} with {spec.model}: no finished trial has a network on the front yet."
    return (
        f"{spec.approach} on {spec.task} with {spec.model}: {front.trials} trials, {front.seen} networks measured, "
        f"{len(front.points)} on the front. Normalised hypervolume "
        f"{volume(front.hypervolume_normalised)} ({VOLUME})."
    )


def _ends_at(view: StudyView) -> str:
    knee = view.front.knee
    return "" if knee is None else f"At its knee: {in_words(knee, view.front.spec)}."


def _first_of_all(view: StudyView) -> list[str]:
    """Return the main results of one study as sentences."""
    front, spec = view.front, view.front.spec
    if front.knee is None:
        return []
    found: dict[str, str] = {}  # by point: one within two bounds is named once
    for drop in DROPS:
        fit = [point for point in front.points if point.metric >= lowest_metric(spec.anchors.dense, drop)]
        if fit:
            bound = f"{100 * drop:.0f} point{'s' if drop > DROPS[0] else ''}"
            found.setdefault(
                in_words(max(fit, key=_gain), spec),
                f"Within {bound} of the dense network ({spec.anchors.dense:.4f})",
            )
    found.setdefault(in_words(front.knee, spec), "At the front's knee")
    return [*(f"{when}: {point}." for point, when in found.items()), *_how_sure(view)]


def _how_sure(view: StudyView) -> list[str]:
    front, spec = view.front, view.front.spec
    confirmed = view.confirmed.points if view.confirmed is not None else ()
    over = [point.optimism.mean for point in confirmed if point.metric.count]
    lines = [
        f"These metrics are on the {spec.validation_rows} validation rows that chose the front; `confirm` measures "
        "them on test rows and fresh seeds."
    ]
    if over and view.confirmed is not None:
        lines = [
            f"On {len(view.confirmed.labels)} test rows and fresh seeds the {len(over)} confirmed points are on "
            f"average {sum(over) / len(over):.4f} below their metric on validation."
        ]
    left = sum(front.left_out.values())
    if left:
        lines.append(
            f"{left} trial{'s are' if left > 1 else ' is'} left out of the front: {_reasons(front)}."
        )
    return lines


def _gain(point: FrontPoint) -> float:
    return point.gain


def _reasons(front: Front) -> str:
    return "; ".join(f"{count} × {reason}" for reason, count in front.reasons.items())
