"""Task files: what is read, and what is said of those that cannot be."""

from pathlib import Path

import pytest

from pipeline.task.taskfile import read_taskfile

WHOLE = {
    "name": '"toy"',
    "metric": '"accuracy"',
    "text": '["sentence"]',
    "label": '"label"',
    "[files]": "",
    "train": '"train.tsv"',
    "test": '"test.tsv"',
}


def written(path: Path, **changes: str | None) -> Path:
    """The whole file with keys changed, added at the front, or (None) left out."""
    keys = {key: value for key, value in changes.items() if key not in WHOLE} | WHOLE | changes
    lines = [
        key if key == "[files]" else f"{key} = {value}" for key, value in keys.items() if value is not None
    ]
    path.write_text("\n".join(lines))
    return path


def test_read(tmp_path: Path) -> None:
    found = read_taskfile(written(tmp_path / "t.toml", text='["a", "b"]', max_length="9", delimiter='";"'))
    assert (found.name, found.metric, found.text, found.label) == ("toy", "accuracy", ["a", "b"], "label")
    assert (found.files.train, found.files.test, found.files.validation) == ("train.tsv", "test.tsv", None)
    assert (found.max_length, found.delimiter, found.regression) == (9, ";", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"txet": "1"},
            "unknown key 'txet', known there are name, metric, text, label, files, max_length, delimiter",
        ),
        ({"test": '"t"\ndev = "d"'}, "unknown key 'files.dev', known there are train, test, validation"),
        ({"label": None}, "the key 'label' is missing"),
        ({"train": None}, "the key 'files.train' is missing"),
        ({"text": '"sentence"'}, "text = 'sentence': input should be a valid list"),
        ({"text": "[]"}, r"text = \[\]: list should have at least 1 item"),
        ({"text": '["a", "b", "c"]'}, "at most 2 items"),
        ({"text": '["label"]'}, "text and label must name different columns"),
        ({"text": '["a", "a"]'}, "text and label must name different columns"),
        ({"name": "3"}, "name = 3: input should be a valid string"),
        ({"max_length": "0"}, "max_length = 0: input should be greater than 0"),
        ({"max_length": "-5"}, "max_length = -5"),
        ({"max_length": '"48"'}, "max_length = '48': input should be a valid integer"),
        ({"delimiter": '"ab"'}, "delimiter = 'ab'"),
        ({"regression": '"yes"'}, "regression = 'yes': input should be a valid boolean"),
        ({"metric": '"accuracy'}, "at line 2"),  # TOML's own words
    ],
)
def test_malformed(changes: dict[str, str | None], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_taskfile(written(tmp_path / "t.toml", **changes))
