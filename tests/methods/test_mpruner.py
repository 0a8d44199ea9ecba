"""MPruner: clusters by hand, CKA against the formula with its centring matrix, one row at a time."""

import numpy as np
import pytest
import torch

from pipeline.methods.mpruner import MPruner, cka, clusters, layer_scores, removed_at
from pipeline.model.surgery import cut
from pipeline.task.batches import encoder_inputs

# Four layers: 0 and 1 are close, so are 2 and 3; 0 and 2 a little.
SIMILARITY = np.array(
    [[1.0, 0.99, 0.90, 0.80], [0.99, 1.0, 0.92, 0.85], [0.90, 0.92, 1.0, 0.98], [0.80, 0.85, 0.98, 1.0]]
)


def test_clusters_by_hand():
    assert clusters(SIMILARITY, 0.995) == [[0], [1], [2], [3]]
    assert clusters(SIMILARITY, 0.98) == [[0, 1], [2, 3]]
    assert clusters(SIMILARITY, 0.90) == [[0, 1, 2], [3]]
    assert clusters(SIMILARITY, 0.80) == [[0, 1, 2, 3]]


def test_scores_are_the_first_threshold_that_removes():
    assert removed_at(SIMILARITY, stride=1) == pytest.approx([np.inf, 0.01, 0.10, 0.02])
    # stride 2 takes members 1 and 3 of a cluster: layer 2 only where it is one of them, and it never is
    assert removed_at(SIMILARITY, stride=2) == pytest.approx([np.inf, 0.01, np.inf, 0.02])
    assert layer_scores(SIMILARITY, stride=1) == pytest.approx([2.0, 0.01, 0.10, 0.02])
    assert layer_scores(SIMILARITY, stride=2) == pytest.approx([2.0, 0.01, 1.10, 0.02])


def test_one_layer_is_never_removed():
    assert layer_scores(np.array([[1.0]]), stride=1).tolist() == [2.0]


def hsic_cka(x: np.ndarray, y: np.ndarray) -> float:
    """By tr(K H L H) with the centring matrix H."""
    n = len(x)
    h = np.eye(n) - 1 / n
    k, l_ = x @ x.T, y @ y.T
    hsic = lambda a, b: np.trace(a @ h @ b @ h)  # noqa: E731
    return float(hsic(k, l_) / np.sqrt(hsic(k, k) * hsic(l_, l_)))


def test_cka_leaves_padding_out():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 7, 5)), generator.normal(size=(2, 7, 5))
    mask = np.ones((2, 7))
    mask[1, 4:] = 0
    found = cka([torch.from_numpy(x), torch.from_numpy(y)], torch.from_numpy(mask)).numpy()
    expected = hsic_cka(x[0], y[0]) + hsic_cka(x[1, :4], y[1, :4])
    assert found == pytest.approx(np.array([[2.0, expected], [expected, 2.0]]), rel=1e-5)


def test_a_sweep_over_batches_is_the_mean_over_rows(architecture, make_model, make_split):
    model, anatomy = make_model(architecture)
    split = make_split(architecture, rows=5)
    found = MPruner(1).score(model, anatomy, split.in_length_order(2)).layers
    similarity = np.zeros((3, 3))
    for row in range(5):
        inputs = encoder_inputs(split.collate(np.array([row])))
        length = int(inputs["attention_mask"].sum())
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states[1:]
        states = [state[0, :length].double().numpy() for state in states]
        similarity += [[hsic_cka(a, b) / 5 for b in states] for a in states]
    assert found == pytest.approx(layer_scores(similarity, stride=1), abs=1e-4)


def test_layers_that_are_gone_are_in_no_cluster(make_model, make_batch):
    model, anatomy = make_model()
    masks = anatomy.present
    masks.heads[1] = masks.neurons[1] = masks.layers[1] = False
    anatomy = cut(model, anatomy, masks)
    scores = MPruner(1).score(model, anatomy, [make_batch()]).layers
    assert np.isnan(scores).tolist() == [False, True, False]
    assert scores[0] == 2.0
    assert 0 <= scores[2] <= 1
