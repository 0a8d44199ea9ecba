"""Single weights in the order in which they go: counts by hand, nested zeros, thresholds that make a network again."""

import copy
import itertools

import numpy as np
import pytest
import torch

from pipeline.model.unstructured import matrices, zero
from pipeline.trial.curve import LADDER, WeightRanking
from pipeline.trial.measure import Evaluation, measure

ENCODER, WEIGHTS = 25_632, 24_576  # of the tiny network; in its 18 matrices


@pytest.fixture
def made(make_model):
    model, anatomy = make_model()
    generator = torch.Generator().manual_seed(1)
    scores = {
        name: torch.rand(weight.shape, generator=generator) for name, weight in matrices(anatomy).items()
    }
    return model, anatomy, scores


def zeros(anatomy) -> int:
    return sum(int((weight == 0).sum()) for weight in matrices(anatomy).values())


@pytest.mark.parametrize(("target", "count"), [(0.0, 0), (1 / ENCODER, 1), (0.5, 12_816), (0.97, WEIGHTS)])
def test_a_target_takes_that_share_of_the_encoder(made, target: float, count: int):
    model, anatomy, scores = made
    ranking = WeightRanking(scores, anatomy)
    step = ranking.at(target=target)
    assert step.compression == pytest.approx(count / ENCODER)
    assert ranking.take(model, step) is anatomy
    assert zeros(anatomy) == step.removed == count
    lowest = torch.cat([values.flatten() for values in scores.values()]).sort().values
    assert step.threshold == (lowest[count - 1].item() if count else -np.inf)


def test_what_is_zero_already_counts_and_is_never_removed_again(made):
    model, anatomy, scores = made
    first = WeightRanking(scores, anatomy)
    first.take(model, first.at(target=0.4))
    again = WeightRanking({name: -values for name, values in scores.items()}, anatomy)  # the other way round
    for target in (0.1, 0.4, zeros(anatomy) / ENCODER):
        assert (again.at(target=target).removed, again.at(target=target).threshold) == (0, -np.inf)
    now = zeros(anatomy)
    step = again.at(target=0.5)
    assert step.removed == 12_816 - now
    again.take(model, step)
    assert zeros(anatomy) == 12_816


def test_a_threshold_takes_what_scores_no_more(made):
    model, anatomy, scores = made
    ranking = WeightRanking(scores, anatomy)
    step = ranking.at(threshold=0.25)
    expected = sum(int((values <= 0.25).sum()) for values in scores.values())
    assert step.removed == expected
    ranking.take(model, step)
    assert zeros(anatomy) == expected
    assert ranking.at(threshold=-1.0).removed == 0
    with pytest.raises(ValueError, match="one of threshold and target"):
        ranking.at()


def test_before_the_last_round_an_equal_part_of_the_way(made):
    _, anatomy, scores = made
    ranking = WeightRanking(scores, anatomy)
    steps = [ranking.choose(threshold=None, target=0.9, rounds_left=left) for left in (3, 2, 1)]
    assert [step.compression for step in steps] == pytest.approx([0.3, 0.45, 0.9], abs=1e-3)


def test_steps_are_the_ladder_beyond_what_is_there(made):
    model, anatomy, scores = made
    ranking = WeightRanking(scores, anatomy)
    chosen = ranking.at(target=0.85)
    steps = ranking.steps(most=32, include=chosen)
    assert [step.compression for step in steps] == pytest.approx(
        [0.0, *LADDER[:5], 0.85, *LADDER[5:]], abs=1e-4
    )
    assert len(ranking.steps(most=8)) == 8
    few = ranking.steps(most=3, include=chosen)
    assert [step.compression for step in few] == pytest.approx([0.0, 0.85, 0.95], abs=1e-4)
    ranking.take(model, chosen)
    rest = WeightRanking(scores, anatomy).steps(most=32)
    assert [step.compression for step in rest] == pytest.approx([0.85, 0.9, 0.95], abs=1e-4)


def test_every_network_of_the_curve_comes_from_scores_and_its_threshold(made):
    model, anatomy, scores = made
    ranking = WeightRanking(scores, anatomy)
    before = copy.deepcopy(model.state_dict())
    seen = []

    def examine(network, parts):
        seen.append({name: weight.detach().clone() for name, weight in matrices(parts).items()})
        evaluation = Evaluation(0.0, {"metric": 0.0}, np.zeros(1))
        return evaluation, measure(network, parts, evaluation, length=9, count_zeros=True)

    walked = list(ranking.walk(model, ranking.steps(most=32), examine))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for (step, _, measured), network in zip(walked, seen, strict=True):
        assert measured.sparsity == pytest.approx(step.compression, abs=1e-9)
        assert (measured.compression, measured.share) == (0.0, measured.sparsity)
        again, parts = copy.deepcopy((model, anatomy))
        del again
        zero(matrices(parts), ranking.tensors, step.threshold)
        assert all(torch.equal(network[name], weight) for name, weight in matrices(parts).items())
    for less, more in itertools.pairwise(seen):
        assert all(((less[name] != 0) | (more[name] == 0)).all() for name in less)


def test_a_score_that_is_no_number_is_refused(made):
    _, anatomy, scores = made
    scores["1.key"][0, 0] = torch.nan
    with pytest.raises(ValueError, match="1 have NaN"):
        WeightRanking(scores, anatomy)
