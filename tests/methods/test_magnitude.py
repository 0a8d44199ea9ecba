"""Gradual magnitude, lifted and not: the schedule's sparsity, what stays zero, and that AdamW does not move it."""

import pytest
import torch

from pipeline.methods.magnitude import Magnitude, MagnitudeLifted
from pipeline.model.unstructured import matrices
from tests.kit.gated import run_of, step

FIELDS = {"start_fraction": 0.2, "end_fraction": 0.8, "initial_sparsity": 0.0, "interval": 1}


def zeros(anatomy) -> int:
    return sum(int((weight == 0).sum()) for weight in matrices(anatomy).values())


def sparsities(method, model, anatomy, batch, *, steps: int = 10, target: float = 0.5) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.5)
    found = []
    with method.watch(model, anatomy, optimizer, run_of(steps=steps, target=target)):
        for _ in range(steps):
            step(method, model, batch, optimizer)
            found.append(zeros(anatomy) / 25_632)
    return found


def test_sparsity_is_on_the_cubic_schedule(make_model, make_batch):
    model, anatomy = make_model()
    found = sparsities(MagnitudeLifted(**FIELDS), model, anatomy, make_batch())
    parts = [0.0, 0.0] + [1 - (1 - i / 6) ** 3 for i in range(1, 6)] + [1.0] * 3
    assert found == pytest.approx([0.5 * part for part in parts], abs=1e-3)


def test_masks_are_made_at_intervals_and_hold_in_between(make_model, make_batch):
    model, anatomy = make_model()
    method = MagnitudeLifted(**(FIELDS | {"interval": 4, "initial_sparsity": 0.5}))
    found = sparsities(method, model, anatomy, make_batch(), steps=12)
    at = [0.5 * (1 - 0.5 * (1 - (i / 12 - 0.2) / 0.6) ** 3) for i in (4, 8)]
    expected = [0.0] * 3 + [at[0]] * 4 + [at[1]] * 2 + [0.5] * 3  # the end, at step 10, makes its own
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_smallest_weights_went(make_model, make_batch):
    model, anatomy = make_model()
    before = torch.cat([w.detach().flatten().abs() for w in matrices(anatomy).values()])
    method = MagnitudeLifted(**(FIELDS | {"start_fraction": 0.0, "end_fraction": 0.0}))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with method.watch(model, anatomy, optimizer, run_of(target=0.25)):
        step(method, model, make_batch(), optimizer)
    after = torch.cat([w.detach().flatten() for w in matrices(anatomy).values()])
    assert (after == 0).sum() == 0.25 * 25_632
    assert before[after == 0].max() < before[after != 0].min()
    scores = method.score(model, anatomy, [])
    part = anatomy.layers[0]
    by_hand = part.ffn_in.weight[3].abs().sum() + part.ffn_out.weight[:, 3].abs().sum()
    assert scores.neurons[0, 3] == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.mark.parametrize("scope", ["matrix", "network"])
def test_single_weights_by_matrix_or_all_together(scope, make_model, make_batch):
    model, anatomy = make_model()
    weights = matrices(anatomy)
    with torch.no_grad():
        weights["0.query"].mul_(1e-3)  # the smallest by far
    before = {name: weight.detach().abs() for name, weight in weights.items()}
    method = Magnitude(**(FIELDS | {"start_fraction": 0.0, "end_fraction": 0.0}), scope=scope)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with method.watch(model, anatomy, optimizer, run_of(target=0.25)):
        step(method, model, make_batch(), optimizer)
    assert zeros(anatomy) == pytest.approx(0.25 * 25_632, abs=18)
    gone = (weights["0.query"] == 0).sum().item()
    assert gone == (1024 if scope == "network" else round(0.25 * 25_632 / 24_576 * 1024))
    found = method.score(model, anatomy, [])
    if scope == "network":
        assert torch.equal(found["1.key"], weights["1.key"].detach().abs())
    else:  # its place in its own matrix
        place = (before["1.key"] <= before["1.key"][3, 5]).sum().item()
        if weights["1.key"][3, 5] != 0:
            assert found["1.key"][3, 5].item() == pytest.approx(place / 1024)
        assert found["1.key"].max() == found["0.query"].max() == 1.0
