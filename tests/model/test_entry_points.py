"""Encoders of other packages: a row of the table, found by its entry point."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.export.checkpoint.writing import check_writable, class_names
from pipeline.model.anatomy import find_architecture
from pipeline.model.architectures import BERT
from pipeline.model.heads import CLASSIFIER, IMAGE_CLASSIFIER, LANGUAGE_MODEL, network_of
from pipeline.model.source import ModelSource
from pipeline.study.records import BadInput
from pipeline.trial.conformance.networks import tiny_config
from tests.kit.made_up import made_up


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *, name: str, points: str) -> None:
    """A distribution of one module, on the search path."""
    (folder / f"{name}.py").write_text(
        "from pipeline.model.architectures import BERT\nROW = BERT._replace(ffn=BERT.ffn._replace(block='mlp'))\n"
    )
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[prunefront.encoders]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))


def test_a_row_of_another_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path,
        monkeypatch,
        name="rows",
        points="my-bert = rows:ROW\nno-row = rows:BERT.layers\nbert = rows:ROW",
    )
    assert find_architecture("my-bert") == BERT._replace(ffn=BERT.ffn._replace(block="mlp"))
    assert find_architecture("bert") is BERT, "a name of this package stays its own"
    with pytest.raises(BadInput, match=r"'no-row' in .* is 'encoder\.layer'"):
        find_architecture("no-row")
    with pytest.raises(BadInput, match=r"'nobody' cannot be cut: only encoders .* Known are .*my-bert"):
        find_architecture("nobody")


def test_a_name_that_cannot_be_imported_or_is_brought_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        install(
            tmp_path / name, monkeypatch, name=name, points=f"twice = {name}:ROW\n{name}-gone = {name}:GONE"
        )
    with pytest.raises(BadInput, match=r"'twice' in .* is brought as one:ROW and as two:ROW"):
        find_architecture("twice")
    with pytest.raises(BadInput, match=r"two-gone = 'two:GONE' in .* cannot be imported"):
        find_architecture("two-gone")


def test_an_export_needs_a_class_of_the_library() -> None:
    source = ModelSource("mine", "", tiny_config("roberta").to_dict(), {}, {})
    check_writable(source)
    assert class_names("BertModel") == ("CutBert", "Model")
    assert class_names("CutGPT2LMHeadModel") == ("CutGPT2", "LMHeadModel")
    with (
        made_up() as kind,
        pytest.raises(BadInput, match="MadeUpForSequenceClassification is another package's"),
    ):
        check_writable(replace(source, config=tiny_config(kind).to_dict()))


def test_a_family_without_a_head_is_refused() -> None:
    with pytest.raises(BadInput, match=r"no ForSequenceClassification for model_type 'vit'"):
        network_of(tiny_config("vit"), CLASSIFIER)
    with pytest.raises(BadInput, match=r"no ForCausalLM for model_type 'dinov3_vit'"):
        network_of(tiny_config("dinov3_vit"), LANGUAGE_MODEL)
    assert (
        network_of(tiny_config("dinov3_vit"), IMAGE_CLASSIFIER).__name__ == "DINOv3ViTForImageClassification"
    )
    assert network_of(tiny_config("gpt2"), LANGUAGE_MODEL).__name__ == "GPT2LMHeadModel"
