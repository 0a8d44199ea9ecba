"""Points in words, as parts of a page's sentences."""

from __future__ import annotations

from pipeline.fronts.front import FrontPoint
from pipeline.fronts.numbers import mb, millions, percent
from pipeline.study.records import StudySpec

DROPS = (0.01, 0.02)  # what a page looks for, below the dense metric


def in_words(point: FrontPoint, spec: StudySpec) -> str:
    """Return what a network keeps and loses, as a part of a sentence."""
    if spec.zeroes:
        return (
            f"{percent(point.sparsity)} of the encoder's parameters zero at {point.metric:.4f} (trial "
            f"{point.trial}, {point.kind})"
        )
    latency = ""
    if point.speedup is not None:
        latency = f", {point.speedup:.2f} times as fast{' (?)' * point.latency_disturbed}"
    anchors = spec.anchors
    return (
        f"{percent(point.compression)} of the encoder gone at {point.metric:.4f}, {millions(point.parameters)} of "
        f"{millions(anchors.dense_parameters)} parameters and {mb(point.size_mb)} of "
        f"{mb(anchors.dense_size_mb)} MB left{latency} (trial {point.trial}, {point.kind})"
    )
