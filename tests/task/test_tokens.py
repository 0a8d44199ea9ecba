"""Token ids against words counted by hand."""

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pipeline.task.tokens import ROWS_AT_ONCE, encode

VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "b": 5, "c": 6}


def make_tokenizer(*, types: bool = True, limit: int = 32) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if types else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=inputs,
        model_max_length=limit,
    )


def rows(**texts: list[str]) -> pa.Table:
    count = len(texts["text_a"])
    return pa.table(
        {"id": [f"r{i}" for i in range(count)], **texts, "label": pa.array(range(count), pa.int64())}
    )


def test_single_texts() -> None:
    table = encode(rows(text_a=["a b", "d"]), make_tokenizer(), max_length=8)
    assert table.schema == pa.schema(
        {
            "id": pa.string(),
            "input_ids": pa.list_(pa.int32()),
            "token_type_ids": pa.list_(pa.int8()),
            "label": pa.int64(),
        }
    )
    assert table.to_pydict() == {
        "id": ["r0", "r1"],
        "input_ids": [[2, 4, 5, 3], [2, 1, 3]],
        "token_type_ids": [[0, 0, 0, 0], [0, 0, 0]],
        "label": [0, 1],
    }


def test_pairs() -> None:
    table = encode(rows(text_a=["a"], text_b=["b c"]), make_tokenizer(), max_length=8)
    assert table["input_ids"].to_pylist() == [[2, 4, 3, 5, 6, 3]]
    assert table["token_type_ids"].to_pylist() == [[0, 0, 0, 1, 1, 1]]


def test_token_types_only_if_the_tokenizer_gives_them() -> None:
    table = encode(rows(text_a=["a"]), make_tokenizer(types=False), max_length=8)
    assert table.column_names == ["id", "input_ids", "label"]


@pytest.mark.parametrize(
    ("max_length", "limit", "expected"), [(4, 32, [2, 4, 5, 3]), (8, 5, [2, 4, 5, 6, 3])]
)
def test_cut_to_what_is_asked_and_what_the_model_takes(
    max_length: int, limit: int, expected: list[int]
) -> None:
    table = encode(rows(text_a=["a b c a b c"]), make_tokenizer(limit=limit), max_length=max_length)
    assert table["input_ids"].to_pylist() == [expected]


def test_many_rows_are_one_chunk_in_order() -> None:
    count = ROWS_AT_ONCE + 3
    table = encode(
        rows(text_a=["a", "b"] * (count // 2) + ["c"] * (count % 2)), make_tokenizer(), max_length=8
    )
    assert [column.num_chunks for column in table.columns] == [1, 1, 1, 1]
    assert table["label"].to_pylist() == list(range(count))
    assert table["input_ids"].to_pylist()[ROWS_AT_ONCE - 1 :] == [[2, 5, 3], [2, 4, 3], [2, 5, 3], [2, 6, 3]]
