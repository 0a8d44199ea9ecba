"""What is set aside: exact by hand, laws by hypothesis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.task.carve import CALIBRATION_ROWS, calibration_rows, carve, deciles, text_key, validation_rows

tables = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=2, max_size=120)


@given(tables, st.integers(1, 60))
def test_laws(rows: list[tuple[int, int]], wanted: int) -> None:
    keys = [f"text {key}" for key, _ in rows]
    labels = np.array([label for _, label in rows])
    aside = carve(keys, labels, rows=wanted, salt="x")
    assert aside.sum() <= wanted
    chosen = {key for key, taken in zip(keys, aside, strict=True) if taken}
    kept = {key for key, taken in zip(keys, aside, strict=True) if not taken}
    assert not chosen & kept, "a text stands on both sides"
    assert kept, "something stays"


@given(tables, st.integers(1, 60), st.randoms())
def test_the_order_of_rows_is_irrelevant(rows: list[tuple[int, int]], wanted: int, random: object) -> None:
    def chosen(some: list[tuple[int, int]]) -> list[tuple[int, int]]:
        keys, labels = [f"text {key}" for key, _ in some], np.array([label for _, label in some])
        aside = carve(keys, labels, rows=wanted, salt="x")
        return sorted(row for row, taken in zip(some, aside, strict=True) if taken)

    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert chosen(shuffled) == chosen(rows)


def test_every_class_gives_its_share() -> None:
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    aside = carve([str(row) for row in range(1000)], labels, rows=100, salt="x")
    assert np.bincount(labels[aside]).tolist() == [50, 30, 20]


def test_shares_are_rounded_to_the_largest_remainders() -> None:
    labels = np.repeat([0, 1, 2], [7, 7, 6])  # of 5 rows: 1.75, 1.75, 1.5
    aside = carve([str(row) for row in range(20)], labels, rows=5, salt="x")
    assert np.bincount(labels[aside]).tolist() == [2, 2, 1]


def test_a_rare_class_is_on_both_sides() -> None:
    labels = np.repeat([0, 1], [998, 2])
    aside = carve([str(row) for row in range(1000)], labels, rows=100, salt="x")
    assert np.bincount(labels[aside]).tolist() == [99, 1]


def test_a_class_with_one_text_stays() -> None:
    labels = np.repeat([0, 1], [18, 2])
    aside = carve([*map(str, range(18)), "same", "same"], labels, rows=10, salt="x")
    assert not aside[18:].any()


def test_salts_choose_independently() -> None:
    keys, labels = [str(row) for row in range(4000)], np.zeros(4000, dtype=np.int64)
    both = carve(keys, labels, rows=2000, salt="x") & carve(keys, labels, rows=2000, salt="y")
    assert abs(both.sum() - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75)


@pytest.mark.parametrize(("rows", "expected"), [(10, 2), (1000, 200), (9_999, 2000), (30_000, 2000)])
def test_validation_is_a_fifth_and_at_most_two_thousand(rows: int, expected: int) -> None:
    keys = [text_key(f"sentence {row}") for row in range(rows)]
    assert validation_rows(keys, np.arange(rows) % 2).sum() == expected


def test_calibration_is_small() -> None:
    ids = [f"train-{row}" for row in range(3000)]
    aside = calibration_rows(ids, np.arange(3000) % 3)
    assert CALIBRATION_ROWS == 512
    assert np.bincount((np.arange(3000) % 3)[aside]).tolist() == [171, 171, 170]


def test_bins_of_a_regression_hold_a_tenth_each() -> None:
    values = np.random.default_rng(0).exponential(size=1000).astype(np.float32)
    bins = deciles(values)
    assert np.bincount(bins).tolist() == [100] * 10
    assert (np.diff(bins[np.argsort(values)]) >= 0).all()


def test_bins_of_a_regression_spread_validation() -> None:
    values = np.random.default_rng(0).exponential(size=1000)
    keys = [text_key(f"sentence {row}") for row in range(1000)]
    aside = validation_rows(keys, deciles(values))
    assert np.bincount(deciles(values)[aside]).tolist() == [20] * 10


def test_values_that_repeat_share_a_bin() -> None:
    values = np.array([0.0] * 95 + [1.0] * 5)
    bins = deciles(values)
    assert len(set(bins[:95])) == 1


def test_texts_that_say_the_same() -> None:
    assert text_key("A  cat\tsat ", "On it") == text_key("on it", "a cat sat")
    assert text_key("a b", "c") != text_key("a", "b c")
    assert text_key("a b") != text_key("a", "b")
