"""Heads matched to classes: every case by hand."""

import pytest

from pipeline.model.head import HeadMatch, match_head
from pipeline.model.heads import Head


def named(*names: str) -> dict[str, object]:
    return {"id2label": {str(number): name for number, name in enumerate(names)}}


@pytest.mark.parametrize(
    ("config", "classes", "order"),
    [
        (named("neg", "pos"), ("neg", "pos"), (0, 1)),
        (named("pos", "neg"), ("neg", "pos"), (1, 0)),
        (named("NEGATIVE", "POSITIVE"), ("positive", "negative"), (1, 0)),
        (named("c", "a", "b"), ("a", "b", "c"), (1, 2, 0)),
        (named("1", "0"), ("0.0", "True"), (1, 0)),
        (named("LABEL_0", "LABEL_1"), ("0", "1"), (0, 1)),
        (named("LABEL_0", "LABEL_1", "LABEL_2"), ("2", "0", "1"), (2, 0, 1)),
        (named("No", "no"), ("no", "No"), (1, 0)),  # case counts where it must
        ({"id2label": {"1": "b", "0": "a"}}, ("a", "b"), (0, 1)),
        ({"id2label": {1: "a", 0: "b", 10: "c"}}, ("a", "b", "c"), (1, 0, 2)),
    ],
)
def test_names_give_the_order(config, classes, order):
    assert match_head(config, Head(classes)) == HeadMatch(order)


@pytest.mark.parametrize("config", [{}, {"num_labels": 2}, named("LABEL_0", "LABEL_1")])
def test_outputs_without_names_keep_their_order(config):
    match = match_head(config, Head(("neg", "pos")))
    assert (match.order, match.permuted) == ((0, 1), False)
    assert match.reason == "its head's outputs have no names and are taken in the task's order"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (named("a", "b", "c"), "its head has 3 outputs, the task has 2 classes"),
        ({"num_labels": 1}, "its head has 1 output, the task has 2 classes"),
        (named("good", "bad"), "its head knows the classes good, bad, the task has neg, pos"),
        (named("neg", "neg "), "its head knows the classes neg, neg , the task has neg, pos"),
        (
            named("neg", "pos") | {"problem_type": "multi_label_classification"},
            "its head gives any number of labels to a row",
        ),
        (named("neg", "pos") | {"problem_type": "regression"}, "its head predicts values"),
    ],
)
def test_a_head_that_does_not_fit_says_why(config, reason):
    assert match_head(config, Head(("neg", "pos"))) == HeadMatch(None, reason)


VALUE = Head(("value",), problem_type="regression")


def test_a_regression_has_one_output():
    assert match_head(named("value"), VALUE) == HeadMatch((0,))
    assert match_head({}, VALUE).reason == "its head has 2 outputs, a regression has 1"


def test_only_another_order_is_a_permutation():
    assert [HeadMatch(order).permuted for order in ((0, 1), (1, 0), None)] == [False, True, False]
