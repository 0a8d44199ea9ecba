"""Rows -> padded batches: against the rows as plain lists."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.task.batches import MASK, POOL_BATCHES, Feed, Split, copy_batch, encoder_inputs, packed

PAD = 7


def split_of(rows: list[list[int]], labels: list[float] | None = None, *, types: bool = False) -> Split:
    columns = {
        "id": [f"row-{i}" for i in range(len(rows))],
        "input_ids": pa.array(rows, pa.list_(pa.int32())),
        "label": labels if labels is not None else pa.array(np.arange(len(rows)) % 3, pa.int64()),
    }
    if types:
        columns["token_type_ids"] = pa.array([[1] * len(row) for row in rows], pa.list_(pa.int8()))
    return Split(pa.table(columns), PAD)


def random_split(rows: int, *, seed: int = 0, longest: int = 30) -> Split:
    rng = np.random.default_rng(seed)
    return split_of([rng.integers(10, 99, rng.integers(1, longest + 1)).tolist() for _ in range(rows)])


def test_a_batch_by_hand():
    split = split_of([[11, 12, 13], [21], [31] * 9], types=True)
    batch = split.collate(np.array([1, 0]))
    width = 3
    assert batch["input_ids"].tolist() == [[21] + [PAD] * (width - 1), [11, 12, 13]]
    assert batch["attention_mask"].tolist() == [[1] + [0] * (width - 1), [1, 1, 1]]
    assert batch["token_type_ids"].tolist() == batch["attention_mask"].tolist()
    assert batch["labels"].tolist() == [1, 0]
    assert batch["rows"].tolist() == [1, 0]
    assert {value.dtype for value in batch.values()} == {torch.int64}


def test_a_batch_is_as_wide_as_its_longest_row():
    split = split_of([[1] * 3, [2] * 10, [3] * 7])
    assert [split.collate(np.array(rows))["input_ids"].shape[1] for rows in ([0], [0, 2], [1])] == [3, 7, 10]


def test_labels_of_a_regression_stay_float():
    split = split_of([[1], [2]], labels=pa.array([0.25, 4.5], pa.float32()))
    batch = split.collate(np.array([1, 0]))
    assert batch["labels"].dtype == torch.float32
    assert batch["labels"].tolist() == [4.5, 0.25]


def test_encoder_inputs_leave_labels_and_row_numbers_out():
    batch = split_of([[1, 2]], types=True).collate(np.array([0]))
    assert set(encoder_inputs(batch)) == {"input_ids", "attention_mask", "token_type_ids"}
    batch = split_of([[1, 2]]).collate(np.array([0]))
    assert set(encoder_inputs(batch)) == {"input_ids", "attention_mask"}


@given(st.lists(st.lists(st.integers(10, 99), min_size=1, max_size=20), min_size=1, max_size=12), st.data())
def test_a_batch_holds_its_rows_and_nothing_else(rows: list[list[int]], data: st.DataObject):
    split = split_of(rows)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=6))
    batch = split.collate(np.array(chosen))
    for ids, mask, row in zip(batch["input_ids"], batch["attention_mask"], chosen, strict=True):
        assert ids[mask.bool()].tolist() == rows[row]
        assert set(ids[~mask.bool()].tolist()) <= {PAD}
        assert mask.tolist() == sorted(mask.tolist(), reverse=True)  # padding is on the right


def test_slices_chunks_and_taken_rows_read_the_same():
    whole = random_split(20)
    parts = Split(pa.concat_tables([whole.table.slice(0, 7), whole.table.slice(7)]), PAD)
    rows = np.array([3, 12, 7])
    taken, sliced = whole.take(rows), Split(whole.table.slice(3, 10), PAD)
    expected = whole.collate(rows)["input_ids"]
    assert torch.equal(parts.collate(rows)["input_ids"], expected)
    every = taken.collate(np.arange(3))["input_ids"]
    assert torch.equal(every, expected[:, : every.shape[1]])
    assert sliced.collate(np.array([0]))["input_ids"][0, : whole.lengths[3]].tolist() == (
        whole.table["input_ids"][3].as_py()
    )
    assert taken.ids == ["row-3", "row-12", "row-7"]
    assert taken.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 2 * 32 * POOL_BATCHES + 5])
def test_an_epoch_has_every_row_once_in_full_batches_but_the_last(rows: int):
    batches = random_split(rows).training_order(32, seed=3)
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    assert len(batches) == -(-rows // 32)
    assert sorted(map(len, batches))[1:] == [32] * (len(batches) - 1)


def test_the_order_of_an_epoch_follows_from_its_seed():
    split = random_split(200)
    first, again, other = (split.training_order(16, seed=seed) for seed in (1, 1, 2))
    assert [b.tolist() for b in first] == [b.tolist() for b in again]
    assert [b.tolist() for b in first] != [b.tolist() for b in other]


def test_batches_group_rows_of_similar_length():
    split = random_split(2_000, longest=64)
    tokens = split.lengths.sum()

    def padded(batches: list[np.ndarray]) -> int:
        return sum(split.collate(rows)["input_ids"].numel() for rows in batches)

    grouped = padded(split.training_order(32, seed=0))
    shuffled = padded(np.split(np.random.default_rng(0).permutation(2_000)[:1_984], 62))
    assert grouped < 1.05 * tokens
    assert shuffled > 1.6 * tokens


def padding_share(split: Split, batches: list[np.ndarray]) -> float:
    """The part of the batches' tokens that is padding."""
    padded = sum(int(split.lengths[rows].max()) * len(rows) for rows in batches)
    return 1 - sum(int(split.lengths[rows].sum()) for rows in batches) / padded


def test_parts_of_a_whole_stay_together_and_wholes_are_grouped_by_length():
    """Lists of four passages of a query, one query of each length: a batch of 32 has eight whole lists."""
    lists = 200
    rng = np.random.default_rng(0)
    longest = rng.integers(8, 65, lists).repeat(4)
    split = split_of([[1] * int(size - rng.integers(0, 3)) for size in longest])
    units = pa.array(np.arange(lists).repeat(4), pa.int32())
    split = replace(split, table=split.table.append_column("unit", units))
    batches = split.training_order(32, seed=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(4 * lists))
    assert all(set(np.bincount(split.units[rows])) <= {0, 4} for rows in batches)
    assert padding_share(split, batches) < 0.1
    shuffled = np.random.default_rng(0).permutation(lists)
    apart = [np.flatnonzero(np.isin(split.units, shuffled[i : i + 8])) for i in range(0, lists, 8)]
    assert padding_share(split, apart) > 0.3
    first = np.concatenate(split.training_order(32, seed=1))
    assert first.tolist() != np.concatenate(batches).tolist()


def test_evaluation_reads_every_row_once_short_ones_first():
    split = random_split(50)
    batches = list(split.in_length_order(16))
    rows = torch.cat([batch["rows"] for batch in batches])
    assert sorted(rows.tolist()) == list(range(50))
    assert np.all(np.diff(split.lengths[rows.numpy()]) >= 0)
    assert torch.equal(torch.cat([batch["labels"] for batch in batches]), rows % 3)


def test_batches_share_no_memory_with_the_table():
    split = random_split(4)
    batch = split.collate(np.arange(4))
    batch["input_ids"].zero_()
    batch["labels"].fill_(9)
    assert split.collate(np.arange(4))["input_ids"].sum() > 0
    assert split.labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_feed_gives_every_place_s_batch_in_whatever_order(make_split, ahead: bool):
    split, made = make_split(rows=30), []
    order = split.training_order(4, seed=0)

    def make(place: int):
        made.append(place)
        return split.collate(order[place])

    feed = Feed(make, torch.device("cpu"), ahead=ahead)
    for place in (0, 1, 2, 5, 6, 7):  # as a loop that goes on elsewhere
        batch, expected = feed.get(place, last=7), split.collate(order[place])
        assert batch.keys() == expected.keys()
        assert all(torch.equal(batch[name], expected[name]) for name in batch)
    feed.close()
    assert made == ([0, 1, 2, 3, 5, 6, 7] if ahead else [0, 1, 2, 5, 6, 7]), "none beyond the last"


def test_an_error_in_making_a_batch_is_raised_where_the_batch_is_used():
    feed = Feed(lambda place: {}[place], torch.device("cpu"), ahead=True)
    with pytest.raises(KeyError):
        feed.get(3, last=9)
    feed.close()


def test_a_packed_batch_is_one_buffer_and_the_same_batch(make_split):
    split = make_split()
    one, other = (split.collate(np.arange(first, first + 4)) for first in (0, 4))
    length = max(batch["input_ids"].shape[1] for batch in (one, other))
    one, other = (replace(split, multiple=length).collate(batch["rows"].numpy()) for batch in (one, other))
    one[MASK] = other[MASK] = torch.empty(0, dtype=torch.bfloat16)
    cpu = torch.device("cpu")
    made, place = packed(one, cpu), packed(other, cpu)
    assert {value.untyped_storage().data_ptr() for value in made.values()} == {
        made["rows"].untyped_storage().data_ptr()
    }
    for name, value in one.items():
        assert (made[name].dtype, made[name].data_ptr() % 16) == (value.dtype, 0)
        assert torch.equal(made[name], value)
    for each in (made, one):  # at once, and tensor by tensor
        place["rows"].zero_()
        copy_batch(each, place)
        assert all(torch.equal(place[name], value) for name, value in one.items())
