"""Points in words, as parts of a page's sentences."""

from __future__ import annotations

from pipeline.fronts.front import FrontPoint
from pipeline.fronts.numbers import millions, percent
from pipeline.study.records import StudySpec


def in_words(point: FrontPoint, spec: StudySpec) -> str:
    """Return what a network keeps and loses, as a part of a sentence."""
    if spec.zeroes:
        return (
            f"{percent(point.sparsity)} of the encoder's parameters zero at {point.metric:.4f} (trial "
            f"{point.trial}, {point.kind})"
        )
    latency = ""
    if point.latency_ms and point.dense_latency_ms:
        latency = f", {point.dense_latency_ms / point.latency_ms:.2f} times as fast"
    return (
        f"{percent(point.compression)} of the encoder gone at {point.metric:.4f}, "
        f"{millions(point.parameters)} parameters left{latency} (trial {point.trial}, {point.kind})"
    )
