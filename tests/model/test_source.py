"""A source builds the same network anywhere, and its copy on disk is the source."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors import SafetensorError

from pipeline.model.folder import BUILTIN
from pipeline.model.heads import Head
from pipeline.model.resolve import resolve_model
from pipeline.model.silence import quiet
from pipeline.model.source import ModelSource, build, read_source, tokenizer, write_source
from pipeline.study.records import BadInput

TEXTS = ["one row of words", "another row, other words", "words"] * 3


def resolve(name: str | Path) -> ModelSource:
    return resolve_model(str(name), head=Head(("no", "yes")), train_texts=TEXTS)


@pytest.fixture(scope="module")
def tiny() -> ModelSource:
    return resolve(BUILTIN)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, make_model, tiny) -> ModelSource:
    """An encoder without a head, as most are published; its arrays read-only, as Ray gives them."""
    folder = tmp_path_factory.mktemp("encoder")
    make_model("bert")[0].bert.save_pretrained(folder)
    tokenizer(tiny).save_pretrained(folder)
    source = resolve(folder)
    for array in source.weights.values():
        array.flags.writeable = False
    return source


def state(source: ModelSource, seed: int) -> dict[str, torch.Tensor]:
    return build(source, seed=seed)[0].state_dict()


def test_weights_come_from_the_source_and_the_rest_from_the_seed(pretrained):
    first, again, other = state(pretrained, 1), state(pretrained, 1), state(pretrained, 2)
    fresh = set(first) - set(pretrained.weights)
    assert fresh == {"classifier.weight", "classifier.bias"}
    for name, array in pretrained.weights.items():
        assert np.array_equal(first[name].numpy(), array)
    assert torch.equal(first["classifier.weight"], again["classifier.weight"])
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])
    # BERT's own initialisation: a normal of spread 0.02, no bias
    assert first["classifier.weight"].std().item() == pytest.approx(0.02, rel=0.5)
    assert (first["classifier.bias"] == 0).all()


def test_without_weights_everything_comes_from_the_seed(tiny):
    first, again, other = state(tiny, 1), state(tiny, 1), state(tiny, 2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "bert.encoder.layer.1.output.dense.weight"
    assert not torch.equal(first[name], other[name])
    assert first[name].std().item() == pytest.approx(0.02, rel=0.05)


def test_the_network_owns_its_weights(pretrained):
    """Trials share the source's memory: what one learns must not reach another."""
    before = {name: array.copy() for name, array in pretrained.weights.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns when it wraps a read-only array
        model, _ = build(pretrained, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(np.array_equal(array, before[name]) for name, array in pretrained.weights.items())


@pytest.mark.parametrize("which", ["tiny", "pretrained"])
def test_a_fresh_network_is_ready_and_leaves_no_trace(which, request, capfd):
    source = request.getfixturevalue(which)
    generator, verbosity = torch.get_rng_state(), transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    model, anatomy = build(source, seed=7)
    assert torch.equal(torch.get_rng_state(), generator)
    assert transformers.logging.get_verbosity() == verbosity
    assert transformers.logging.is_progress_bar_enabled() == bars
    assert capfd.readouterr() == ("", "")
    assert not any(module.training for module in model.modules())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in model.parameters())
    assert model.config._attn_implementation == "sdpa"
    assert anatomy.layers[0].query is model.bert.encoder.layer[0].attention.self.query


def test_the_longest_row_fits_and_one_more_token_does_not(architecture, make_config, make_model):
    source = ModelSource("x", "x", make_config(architecture).to_dict(), {}, {})
    model, _ = make_model(architecture)
    with torch.no_grad():
        model(input_ids=torch.full((1, source.max_length), 9))
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, source.max_length + 1), 9))


@pytest.mark.parametrize("which", ["tiny", "pretrained"])
def test_a_copy_on_disk_is_the_source(which, request, tmp_path):
    source = request.getfixturevalue(which)
    write_source(source, tmp_path / "deep" / "copy")
    copy = read_source(tmp_path / "deep" / "copy")
    assert (copy.name, copy.fingerprint, copy.config) == (source.name, source.fingerprint, source.config)
    assert copy.tokenizer_files == source.tokenizer_files
    first, second = state(source, 3), state(copy, 3)
    assert all(torch.equal(first[name], second[name]) for name in first)
    text = "another word, unknown 語"
    assert tokenizer(copy)(text)["input_ids"] == tokenizer(source)(text)["input_ids"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["copy"]


def test_transformers_reads_the_copy(pretrained, tmp_path):
    write_source(pretrained, tmp_path / "copy")
    with quiet():
        model = transformers.AutoModel.from_pretrained(tmp_path / "copy")
    for name, tensor in model.state_dict().items():
        assert np.array_equal(tensor.numpy(), pretrained.weights[f"bert.{name}"])


def test_a_copy_is_written_once(tiny, tmp_path):
    write_source(tiny, tmp_path / "copy")
    before = (tmp_path / "copy" / "source.json").stat().st_mtime_ns
    write_source(tiny, tmp_path / "copy")
    assert (tmp_path / "copy" / "source.json").stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="another model"):
        write_source(replace(tiny, fingerprint="another"), tmp_path / "copy")


def test_a_copy_that_fails_leaves_nothing(tiny, tmp_path):
    broken = replace(tiny, weights={"weight": np.array([None])})  # safetensors holds no objects
    with pytest.raises(SafetensorError):
        write_source(broken, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "..", "", None])
def test_a_copy_that_names_a_file_outside_its_folder_is_refused(tiny, tmp_path, name):
    write_source(tiny, tmp_path / "model")
    (tmp_path / "outside").write_bytes(b"theirs")
    path = tmp_path / "model" / "source.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_files": [name]}))
    with pytest.raises(BadInput, match="changed by a stranger"):
        read_source(tmp_path / "model")


@pytest.mark.parametrize(
    "file", ["source.json", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
)
@pytest.mark.parametrize("left", [0, 20])
def test_a_damaged_copy_is_refused_by_the_file_s_name(tiny, tmp_path, file, left):
    write_source(tiny, tmp_path / "model")
    path = tmp_path / "model" / file
    path.write_bytes(path.read_bytes()[:left] if path.exists() else b"x" * left)
    with pytest.raises(BadInput, match=rf"{file} is damaged"):
        read_source(tmp_path / "model")


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_copy_with_another_json_file_is_refused_by_its_name(tiny, tmp_path, file):
    write_source(tiny, tmp_path / "model")
    (tmp_path / "model" / file).write_text('{"format": 1}')
    with pytest.raises(BadInput, match=rf"{file} is damaged: KeyError"):
        read_source(tmp_path / "model")
