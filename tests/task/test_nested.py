"""CoNLL text and JSON documents -> rows of lists and objects."""

from __future__ import annotations

import pytest

from pipeline.task.nested import read_conll, read_objects


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_sentences_of_conll_by_hand(end: str) -> None:
    lines = [
        "-DOCSTART- -X- O O",
        "",
        "# a remark",
        "EU NNP B-NP B-ORG",
        "rejects VBZ B-VP O",
        "",
        "",
        "Peter B-PER",
    ]
    assert read_conll(end.join(lines)) == [
        {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]},
        {"tokens": ["Peter"], "tags": ["B-PER"]},
    ]


@pytest.mark.parametrize("between", [" ", "\t"])
def test_remarks_are_no_words_and_signs_are(between: str) -> None:
    """CoNLL-U begins sentences with "# text = ...", MultiCoNER with "# id ...<tab>domain=en"; a # may be a pound."""
    lines = [
        "# text = EU costs",
        "# id 7\tdomain=en",
        "#",
        "EU _ _ B-ORG",
        "# _ _ O",
        "5 _ _ O",
        "#tag _ _ O",
    ]
    (row,) = read_conll("\n".join(line if "=" in line else line.replace(" ", between) for line in lines))
    assert row == {"tokens": ["EU", "#", "5", "#tag"], "tags": ["B-ORG", "O", "O", "O"]}


@pytest.mark.parametrize("space", ["\u00a0", "\u2028", "\x85", "\x0c", "\u3000"])
@pytest.mark.parametrize("between", [" ", "\t"])
def test_other_white_space_is_part_of_a_word(space: str, between: str) -> None:
    """U+00A0 stands within numbers; Python ends lines at U+2028, U+0085 and form feeds, which texts have in them."""
    text = f"10{space}000{between}B-NUM\nmen{between}O\n"
    assert read_conll(text) == [{"tokens": [f"10{space}000", "men"], "tags": ["B-NUM", "O"]}]


def test_a_word_without_a_tag_is_named_by_its_line() -> None:
    with pytest.raises(ValueError, match="line 3 has a word and no tag: 'alone'"):
        read_conll("EU B-ORG\n\nalone\n")


def test_questions_of_squad_and_lists_of_objects() -> None:
    squad = """{"version": "2", "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": [
        {"id": "1", "question": "q", "answers": [{"text": "c", "answer_start": 0}]},
        {"id": "2", "question": "r", "is_impossible": true}]}]}]}"""
    assert read_objects(squad) == [
        {"id": "1", "question": "q", "context": "c", "answers": [{"text": "c", "answer_start": 0}]},
        {"id": "2", "question": "r", "context": "c", "answers": []},
    ]
    assert read_objects('[{"a": 1}, {"b": 2}]') == [{"a": 1}, {"b": 2}]
    with pytest.raises(ValueError, match="no list of objects"):
        read_objects('{"data": [1]}')
    with pytest.raises(ValueError, match="'context' is missing"):
        read_objects('[{"paragraphs": [{"qas": [{"question": "q"}]}]}]')
