"""Greedy elimination against brute force and linear algebra written out."""

import itertools

import numpy as np
import pytest
import torch

from pipeline.methods.bases import elimination
from pipeline.methods.bases.elimination import Elimination, eliminate, eliminate_by

RIDGE = 0.05


@pytest.fixture
def problem() -> tuple[torch.Tensor, torch.Tensor]:
    """A projection of 12 inputs to 5 outputs, and a covariance of inputs that depend on each other."""
    torch.manual_seed(0)
    inputs = torch.randn(40, 12, dtype=torch.float64) @ torch.randn(12, 12, dtype=torch.float64)
    return torch.randn(5, 12, dtype=torch.float64), torch.cov(inputs.T)


def error_without(weight: np.ndarray, covariance: np.ndarray, gone: list[int]) -> float:
    """The ridge regression's error if inputs go and the others make up for them: a Schur complement."""
    matrix = covariance + RIDGE * np.eye(len(covariance))
    kept = [i for i in range(len(matrix)) if i not in gone]
    across = matrix[np.ix_(gone, kept)]
    schur = matrix[np.ix_(gone, gone)] - across @ np.linalg.inv(matrix[np.ix_(kept, kept)]) @ across.T
    lost = weight[:, gone]
    return float(np.trace(lost @ schur @ lost.T))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_units_go_greedily_and_errors_are_those_of_least_squares(problem, size: int) -> None:
    weight, covariance = problem
    found = eliminate(weight, covariance, size=size, ridge=RIDGE)
    order = found.order.tolist()
    count = 12 // size
    assert sorted(order) == list(range(count))

    def features(units: list[int]) -> list[int]:
        return [unit * size + i for unit in units for i in range(size)]

    for step in range(count - 1):
        gone, left = order[:step], [unit for unit in range(count) if unit not in order[:step]]
        costs = {unit: error_without(*map(np.asarray, problem), features([*gone, unit])) for unit in left}
        assert order[step] == min(costs, key=costs.__getitem__)
        assert found.errors[step] == pytest.approx(costs[order[step]], rel=1e-6)
    whole = np.asarray(covariance) + RIDGE * np.eye(12)
    assert found.errors[-1] == pytest.approx(np.trace(np.asarray(weight) @ whole @ np.asarray(weight).T))


def test_a_unit_that_another_can_replace_costs_next_to_nothing(problem) -> None:
    weight, covariance = problem
    twin = torch.eye(12, dtype=torch.float64)
    twin[7] = twin[2]  # input 7 is input 2
    found = eliminate(weight, twin @ covariance @ twin.T, size=1, ridge=1e-9)
    assert found.order[0].item() in (2, 7)
    assert found.errors[0] == pytest.approx(0.0, abs=1e-6)
    assert found.errors[1] > 1e-3


def test_large_blocks_go_in_groups_whose_joint_error_is_exact(
    problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elimination, "STEPS", 4)  # groups of three
    weight, covariance = problem
    found = eliminate(weight, covariance, size=1, ridge=RIDGE)
    for end in (3, 6, 9):
        exact = error_without(np.asarray(weight), np.asarray(covariance), found.order[:end].tolist())
        assert found.errors[end - 1] == pytest.approx(exact, rel=1e-6)


def test_the_error_of_a_set_is_the_sum_of_its_products() -> None:
    torch.manual_seed(1)
    derivatives = torch.randn(20, 6, dtype=torch.float64)
    products = derivatives.T @ derivatives
    found = eliminate_by(products)
    order = found.order.tolist()
    for step, unit in enumerate(order):
        gone = order[: step + 1]
        total = sum(float(products[i, j]) for i, j in itertools.product(gone, gone))
        assert found.errors[step] == pytest.approx(total)
        others = [
            sum(float(products[i, j]) for i, j in itertools.product([*order[:step], u], [*order[:step], u]))
            for u in range(6)
            if u not in order[:step]
        ]
        assert total == pytest.approx(min(others))
        assert unit not in order[:step]


def test_scores_rise_along_the_order_and_are_what_each_adds() -> None:
    order = torch.tensor([2, 0, 3, 1])
    scores = Elimination(order, np.array([1.0, 4.0, 5.0, 9.0])).scores()  # adds 1, 3, 1, 4
    assert scores == pytest.approx([3.0, 4.0, 1.0, 3.0], rel=1e-6)
    assert scores[3] > scores[0]  # unit 3 goes after unit 0, though it adds less
