"""Numbers and points as a page says them."""

from __future__ import annotations

import math

from pipeline.fronts.front import FrontPoint
from pipeline.study.records import StudySpec


def short(value: object) -> str:
    """A number to three digits; a dash for what is not there."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def ends(low: float, high: float) -> str:
    """The ends of an interval; a dash if it has none."""
    return f"{low:+.4f} to {high:+.4f}" if math.isfinite(low) else "–"


def in_words(point: FrontPoint, spec: StudySpec) -> str:
    """What a point gives, as a part of a sentence."""
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
