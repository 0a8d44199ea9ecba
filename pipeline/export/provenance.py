"""prunefront.json, which lies beside an exported network."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.export.card import Facts, model_name
from pipeline.export.network import Network
from pipeline.study.provenance import provenance


def record_of(facts: Facts, network: Network) -> dict[str, Any]:
    """Return prunefront.json: what was searched, which units stayed, what was measured, by what it was made."""
    spec, point, masks = facts.front.spec, facts.point, network.point.masks
    study = {key: value for key, value in asdict(spec).items() if key != "anchors"}
    study["model"] = model_name(spec)
    return {
        "study": study,
        "anchors": asdict(spec.anchors),
        "trial": point.trial,
        "point": point.point,
        "kind": point.kind,
        "round": point.round,
        "params": network.record.params,
        "seed": network.record.seed,
        "validation": asdict(network.point.measurement),
        "retrained": None if network.retrained is None else asdict(network.retrained),
        "test": asdict(facts.scores),
        "latency": [asdict(each) for each in facts.times],
        "data": asdict(facts.data),
        "reading": dict(facts.reading),
        "original": None if facts.original is None else asdict(facts.original),
        "dense_test": None if facts.dense_scores is None else asdict(facts.dense_scores),
        "int8": [asdict(form) for form in facts.int8],
        "engines": [asdict(each) for each in facts.engines],
        "onnx_difference": facts.onnx_difference,
        # in the numbers of the dense model
        "kept": {
            "layers": np.flatnonzero(masks.layers).tolist(),
            "heads": [np.flatnonzero(heads).tolist() for heads in masks.heads],
            "neurons_bits": [np.packbits(neurons).tobytes().hex() for neurons in masks.neurons],
        },
        "provenance": _public(network.record.provenance),
        "exported_by": _public(provenance()),
    }


def _public(facts: dict[str, str]) -> dict[str, str]:
    """Return provenance without the machine's name: a folder may be published."""
    return {key: value for key, value in facts.items() if key != "host"}
