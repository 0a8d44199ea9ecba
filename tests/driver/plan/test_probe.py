"""A probe of a tiny network: every part is timed, and nothing is left."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pipeline.driver.plan.probe import LEAST_STEPS, MOST_STEPS, probe
from tests.kit.trials import CHANCE, SNIP


# at that rate a loss would run away; a plan reports times, whatever the space's rates
@pytest.mark.parametrize(
    ("method", "params"), [("snip", SNIP | {"learning_rate": 1e6}), ("chance", CHANCE | {"rounds": 2})]
)
def test_a_probe_times_every_part(
    make_inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, params: dict
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = probe(make_inputs(method), (params, 11))
    count = len(found.tune)
    assert LEAST_STEPS <= count <= MOST_STEPS
    assert len(found.recover) == count
    assert len(found.plain) == 2 + count  # the first two say how many more there will be
    assert min(*found.plain, *found.tune, *found.recover) > 0
    assert 0 < found.evaluation < found.curve < found.seconds  # a curve is more than one evaluation
    assert found.batch_size == 4
    assert found.checkpoint_mb > 2 * found.weights_mb > 0  # two moments of nearly all weights beside them
    assert list(tmp_path.iterdir()) == []
