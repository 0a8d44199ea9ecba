"""Names become sources: real folders, a real cache of the hub, and everything that cannot be read."""

import json
import shutil
from collections import Counter
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from pipeline.model.builtin import BUILTIN_SPECIAL, word_pieces
from pipeline.model.folder import BUILTIN
from pipeline.model.heads import Head
from pipeline.model.resolve import check_model, resolve_model
from pipeline.model.silence import quiet
from pipeline.model.source import build, tokenizer
from pipeline.study.records import BadInput

TEXTS = [
    f"{a} the {b} of {c}, or {a}{b}: {c}-{a}s"
    for a in ("gather", "reduce", "sort", "Fold", "index")
    for b in ("array", "tensor", "frame", "nodes")
    for c in ("values", "Größen", "keys", "rows")
]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def resolve(name, *, classes=("yes", "no", "maybe"), regression=False):
    head = Head(("value",), problem_type="regression") if regression else Head(tuple(classes))
    return resolve_model(str(name), head=head, train_texts=TEXTS)


@pytest.fixture
def folder(tmp_path, make_model):
    """A small RoBERTa as save_pretrained leaves it, with a tokenizer."""
    return _saved(make_model("roberta")[0], tmp_path / "model")


def _saved(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    pieces, pads = [*word_pieces(TEXTS, size=100)], model.config.pad_token_id
    pieces[0], pieces[pads] = pieces[pads], pieces[0]  # [PAD] is where the network has it
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    transformers.BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(folder)
    return folder


def test_the_real_minilm(minilm):
    source = resolve(minilm)
    tensors = load_file(minilm / "model.safetensors")
    assert source.pretrained
    assert len(source.fingerprint) == 64
    assert {name for name in source.weights if "classifier" in name} == set()
    assert source.weights["bert.encoder.layer.3.output.dense.weight"].shape == (384, 1536)
    for name, array in source.weights.items():
        np.testing.assert_array_equal(array, tensors[name.removeprefix("bert.")].numpy())
    assert source.config["id2label"] == {"0": "yes", "1": "no", "2": "maybe"}
    assert source.max_length == 512
    encoded = tokenizer(source)("Hello world", "again")
    # the published vocabulary of uncased BERT: [CLS] hello world [SEP] again [SEP]
    assert encoded["input_ids"] == [101, 7592, 2088, 102, 2153, 102]

    model, anatomy = build(source, seed=0)
    # 6 x (4 x 384 x 384 + 4 x 384 + 2 x 384 x 1536 + 1536 + 384 + 4 x 384)
    assert anatomy.costs.encoder == 6 * (4 * (384**2 + 384) + 2 * 384 * 1536 + 1536 + 384 + 4 * 384)
    with torch.no_grad(), quiet():
        reference = transformers.AutoModel.from_pretrained(minilm)
        inputs = {name: torch.tensor([row]) for name, row in encoded.items()}
        expected = reference(**inputs).last_hidden_state
        torch.testing.assert_close(model.bert(**inputs).last_hidden_state, expected)


def test_every_architecture_comes_back_whole(architecture, tmp_path, make_model, make_batch):
    dense, _ = make_model(architecture)
    source = resolve(_saved(dense, tmp_path / "model"))
    model, _ = build(source, seed=5)
    inputs = {k: v for k, v in make_batch(architecture).items() if k not in ("labels", "rows")}
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, dense(**inputs).logits, rtol=0, atol=0)


def test_a_head_of_another_task_starts_afresh(folder, make_model):
    old = make_model("roberta")[0].classifier.out_proj.weight
    source = resolve(folder, classes=("a", "b"))
    assert [name for name in source.weights if "out_proj" in name] == []
    assert "classifier.dense.weight" in source.weights
    assert build(source, seed=0)[0].classifier.out_proj.weight.shape == (2, old.shape[1])
    value = resolve(folder, regression=True, classes=())
    assert value.config["problem_type"] == "regression"
    assert build(value, seed=0)[0].classifier.out_proj.weight.shape[0] == 1


def test_half_precision_weights_become_fp32(tmp_path, make_model):
    model, _ = make_model("bert")
    source = resolve(_saved(model.to(torch.bfloat16), tmp_path / "model"))
    assert {array.dtype for array in source.weights.values()} == {np.dtype(np.float32)}
    assert {p.dtype for p in build(source, seed=0)[0].parameters()} == {torch.float32}


def test_the_fingerprint_is_that_of_the_content(folder, tmp_path):
    fingerprint = resolve(folder).fingerprint
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert resolve(tmp_path / "elsewhere").fingerprint == fingerprint
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_version": "5.0.1"}))
    source = resolve(folder)
    assert source.fingerprint == fingerprint
    # the library writes its own version there: an upgrade must not make another model of it
    assert not {"transformers_version", "_name_or_path"} & set(source.config)

    assert resolve(folder, classes=("c", "b", "a")).fingerprint != fingerprint
    (folder / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.2}))
    assert resolve(folder).fingerprint != fingerprint
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    weights["roberta.encoder.layer.0.output.dense.bias"][3] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert resolve(folder).fingerprint != fingerprint


def test_a_model_in_the_hub_s_cache_brings_its_commit(folder, tmp_path, monkeypatch):
    repository = tmp_path / "cache" / "models--somebody--something"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    source = resolve("somebody/something")
    assert source.name == "somebody/something"
    assert source.fingerprint == f"{resolve(folder).fingerprint}@{COMMIT}"


def test_the_built_in_model():
    source = resolve(BUILTIN)
    assert not source.pretrained
    assert source.max_length == 128
    assert source.config["id2label"] == {"0": "yes", "1": "no", "2": "maybe"}
    fast = tokenizer(source)
    assert fast.convert_ids_to_tokens(fast("Fold the KEYS")["input_ids"]) == [
        "[CLS]", "fold", "the", "keys", "[SEP]",
    ]  # fmt: skip
    assert fast.model_max_length == 128
    _, anatomy = build(source, seed=0)
    assert (anatomy.dense_layers, anatomy.heads_per_layer, anatomy.neurons_per_layer) == (2, 4, 256)
    assert anatomy.hidden_size == 128


def test_the_built_in_model_depends_on_its_texts_alone():
    assert resolve(BUILTIN).fingerprint == resolve(BUILTIN).fingerprint
    other = resolve_model(
        BUILTIN,
        head=Head(("yes", "no", "maybe")),
        train_texts=["other words"] * 3,
    )
    assert other.fingerprint != resolve(BUILTIN).fingerprint


def test_word_pieces_are_the_same_each_time():
    """The library's own trainer gives another vocabulary each time: its hash maps are seeded at random."""
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcdefgh"), size=6)) for _ in range(400)]
    first = word_pieces(words * 2, size=300)
    assert all(word_pieces(words * 2, size=300) == first for _ in range(4))
    assert len(first) == 300


def test_word_pieces_spell_every_common_character():
    vocabulary = word_pieces(TEXTS, size=1000)
    assert list(vocabulary)[:5] == list(BUILTIN_SPECIAL)
    assert list(vocabulary.values()) == list(range(len(vocabulary)))
    counts = Counter("".join(TEXTS).lower().replace("ö", "o"))  # accents are stripped, as BERT does
    characters = {c for c in counts if not c.isspace()}
    assert characters <= set(vocabulary)
    assert {f"##{c}" for c in characters} <= set(vocabulary)
    assert {"gather", "the", "values", "großen"} <= set(vocabulary)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no folder"):
        resolve(tmp_path / "nothing")


def test_an_unreachable_hub_name_is_refused():
    with pytest.raises(BadInput, match=r"somebody/nothing cannot be read.*local folder"):
        resolve("somebody/nothing")


def test_an_unknown_built_in_is_refused():
    with pytest.raises(BadInput, match=BUILTIN):
        resolve("builtin/huge-bert")


def test_pickled_weights_are_refused_with_the_way_out(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"has no safetensors.*pytorch_model\.bin.*save_pretrained"):
        resolve(folder)


def test_an_unknown_architecture_is_refused(folder):
    transformers.OPTConfig(num_hidden_layers=1).save_pretrained(folder)
    with pytest.raises(BadInput, match=r"'opt' cannot be cut: .* Known are bert"):
        resolve(folder)


def test_an_encoder_without_all_its_weights_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["roberta.encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"lacks 1 .*layer\.1\.output\.dense\.weight"):
        resolve(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_broken_file_is_refused(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match="cannot be read"):
        resolve(folder)


def test_a_folder_without_a_tokenizer_is_refused(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(BadInput, match=r"has no tokenizer.*model\.safetensors"):
        resolve(folder)


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(folder):
    vocabulary = word_pieces(TEXTS, size=120)
    transformers.BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(folder)
    with pytest.raises(
        BadInput, match=rf"embeddings of 100 tokens, and its tokenizer counts to {len(vocabulary) - 1}"
    ):
        resolve(folder)


def test_a_model_that_is_resolved_passes_the_quick_check_and_others_do_not(
    minilm: Path, tmp_path: Path
) -> None:
    check_model(BUILTIN)
    check_model(str(minilm))
    with pytest.raises(BadInput, match=r"There is no built-in model builtin/other. There are .*tiny-vit"):
        check_model("builtin/other")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").touch()
    with pytest.raises(BadInput, match="has no safetensors"):
        check_model(str(tmp_path / "model"))


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def classifier(make_model, folder: Path, **values: object) -> Path:
    """A classifier of two classes whose output layer has rows of 1 and of 2, biases 10 and 20."""
    dense, _ = make_model("bert")
    shape = {key: value for key, value in dense.config.to_diff_dict().items() if "label" not in key}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**shape))
    with torch.no_grad():
        model.classifier.weight[:] = torch.tensor([[1.0], [2.0]])
        model.classifier.bias[:] = torch.tensor([10.0, 20.0])
    _saved(model, folder)
    edit_config(folder, **values)
    return folder


@pytest.mark.parametrize(
    ("id2label", "biases", "said"),
    [
        ({"0": "no", "1": "yes"}, [10.0, 20.0], None),
        ({"0": "YES", "1": "No"}, [20.0, 10.0], None),
        ({"0": "LABEL_0", "1": "LABEL_1"}, [10.0, 20.0], "taken in the task's order"),
        (
            {"0": "good", "1": "bad"},
            None,
            "starts anew: its head knows the classes good, bad, the task has no, yes",
        ),
    ],
)
def test_a_head_is_matched_to_classes_by_name(make_model, tmp_path, id2label, biases, said):
    label2id = {name: int(number) for number, name in id2label.items()}
    folder = classifier(make_model, tmp_path / "model", id2label=id2label, label2id=label2id)
    source = resolve(folder, classes=("no", "yes"))
    if biases is None:
        assert not {"classifier.weight", "classifier.bias"} & set(source.weights)
    else:
        assert source.weights["classifier.bias"].tolist() == biases
        assert (source.weights["classifier.weight"][:, 0] * 10).tolist() == biases
    assert [said in remark for remark in source.remarks] == ([True] if said else [])


def test_a_head_of_other_classes_starts_anew_and_this_is_said(make_model, tmp_path):
    source = resolve(classifier(make_model, tmp_path / "model"))
    assert {"classifier.weight", "classifier.bias"} & set(source.weights) == set()
    assert source.remarks == (
        "The model's own head is not used, it starts anew: its head has 2 outputs, the task has 3 classes.",
    )


def test_a_model_without_a_head_is_no_remark(make_model, tmp_path):
    dense, _ = make_model("bert")
    assert resolve(_saved(dense.bert, tmp_path / "model")).remarks == ()


SWITCHED = {
    "return_dict": False,
    "output_attentions": True,
    "output_hidden_states": True,
    "torchscript": True,
    "gradient_checkpointing": True,
    "_attn_implementation": "flash_attention_2",
    "attn_implementation": "flash_attention_2",
    "torch_dtype": "fp16",
}


@pytest.mark.parametrize("switch", SWITCHED)
def test_switches_that_change_the_form_of_outputs_are_reset(folder, make_batch, switch):
    plain, _ = build(resolve(folder), seed=0)
    edit_config(folder, **{switch: SWITCHED[switch]})
    check_model(str(folder))
    source = resolve(folder)
    model, _ = build(source, seed=0)
    inputs = {k: v for k, v in make_batch("roberta").items() if k not in ("labels", "rows")}
    with torch.no_grad():
        found = model(**inputs)
        torch.testing.assert_close(found.logits, plain(**inputs).logits, rtol=0, atol=0)
    assert list(found) == ["logits"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("quantization_config", {"load_in_8bit": True}, "before it was quantised"),
        ("pruned_heads", {"0": [1]}, "in other shapes"),
        ("position_embedding_type", "relative_key", "positions are absolute"),
        ("is_decoder", True, "Give an encoder"),
        ("num_attention_heads", 0, "has num_attention_heads = 0"),
        ("num_hidden_layers", 0, "has num_hidden_layers = 0"),
        ("num_attention_heads", 5, "cannot be read"),
        ("hidden_act", "swoosh", "cannot be read: KeyError"),
        ("hidden_dropout_prob", None, "cannot be read"),
        ("pad_token_id", 50_000, "cannot be read"),
        ("vocab_size", "many", "cannot be read"),
    ],
)
def test_an_odd_configuration_is_refused(folder, key, value, message):
    edit_config(folder, **{key: value})
    with pytest.raises(BadInput, match=message):
        resolve(folder)


def test_an_encoder_with_a_decoder_is_refused_and_says_why(folder):
    """Whisper as the library saves it: nothing of it is loaded first."""
    config = transformers.WhisperConfig(d_model=32, encoder_layers=1, decoder_layers=1)
    (folder / "config.json").write_text(config.to_json_string(use_diff=False))
    for call in (check_model, resolve):
        with pytest.raises(BadInput, match=r"is_encoder_decoder = true\. .*Its decoder reads .*Whisper"):
            call(folder if call is resolve else str(folder))


def test_a_model_with_code_of_its_own_is_refused_with_the_reason(folder):
    """NeoBERT as it is published: the library itself would ask for leave to run its code."""
    code = {"AutoConfig": "model.NeoBERTConfig", "AutoModel": "model.NeoBERT"}
    edit_config(folder, model_type="neobert", auto_map=code)
    for call in (check_model, resolve):
        with pytest.raises(
            BadInput, match=r"'neobert' cannot be cut: transformers has no class .* own code is not run"
        ):
            call(folder if call is resolve else str(folder))


def test_an_adapter_beside_a_model_is_refused(folder):
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(BadInput, match=r"holds an adapter .*merge_and_unload"):
        resolve(folder)


@pytest.mark.parametrize("place", ["", "0_Transformer", "encoder"])
def test_the_encoder_of_a_sentence_transformers_folder_is_read(folder, place):
    """It is beside modules.json, or in the folder of the first module."""
    plain = resolve(folder).fingerprint
    whole = folder.parent / "sentence"
    if place:
        whole.mkdir()
        folder.rename(whole / place)
        (whole / "config.json").write_text('{"__version__": {}}')
    else:
        folder.rename(whole)
    modules = [
        {"idx": 0, "name": "0", "path": place, "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (whole / "modules.json").write_text(json.dumps(modules))
    check_model(str(whole))
    assert resolve(whole).fingerprint == plain


@pytest.mark.parametrize(
    ("path", "kind"), [("", "sentence_transformers.models.WordEmbeddings"), ("../elsewhere", "Transformer")]
)
def test_a_sentence_transformers_folder_without_an_encoder_is_refused(folder, path, kind):
    (folder / "modules.json").write_text(json.dumps([{"path": path, "type": kind}]))
    with pytest.raises(BadInput, match=r"modules\.json has .*begins with an encoder"):
        resolve(folder)


def test_shards_and_a_missing_pooler_are_read(tmp_path, make_model, make_batch):
    dense, _ = make_model("bert")
    dense.save_pretrained(tmp_path / "model", max_shard_size="20KB")
    assert len([*(tmp_path / "model").glob("model-0*.safetensors")]) > 2
    vocabulary = word_pieces(TEXTS, size=100)
    transformers.BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(tmp_path / "model")
    model, _ = build(resolve(tmp_path / "model"), seed=0)
    inputs = {k: v for k, v in make_batch("bert").items() if k not in ("labels", "rows")}
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, dense(**inputs).logits, rtol=0, atol=0)

    weights = {k: v for k, v in dense.state_dict().items() if "pooler" not in k and "classifier" not in k}
    shutil.rmtree(tmp_path / "model")
    _saved(dense, tmp_path / "model")
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    source = resolve(tmp_path / "model")
    assert not [name for name in source.weights if "pooler" in name]
    # it starts from the trial's seed
    one, two, other = (build(source, seed=seed)[0].bert.pooler.dense.weight for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_the_tokenizer_s_padding_token_is_the_network_s(tmp_path, make_model, folder):
    _saved(make_model("bert")[0], tmp_path / "bert")
    pads = tokenizer(resolve(tmp_path / "bert")).pad_token_id
    edit_config(tmp_path / "bert", pad_token_id=pads + 7)
    source = resolve(tmp_path / "bert")
    assert source.config["pad_token_id"] == pads
    assert build(source, seed=0)[0].bert.embeddings.word_embeddings.padding_idx == pads
    assert source.remarks[0] == (
        f"The tokenizer pads with token {pads} ([PAD]), config.json names {pads + 7}: the tokenizer's is used."
    )
    # where positions are counted from it, another one moves them all
    edit_config(folder, pad_token_id=7)
    with pytest.raises(BadInput, match=r"has the padding token 7, and its tokenizer pads with 1"):
        resolve(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_refused(folder, name):
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(BadInput, match=rf"{name} .*git lfs pull"):
        resolve(folder)


def test_weights_of_the_encoder_without_a_place_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    spare = weights["roberta.encoder.layer.1.output.dense.bias"]
    for more, read in (
        ("roberta.encoder.layer.7.output.dense.bias", False),
        ("roberta.encoder.layer.0.attention.self.query.lora_A.weight", False),
        ("roberta.embeddings.position_ids", True),
        ("lm_head.bias", True),
    ):
        save_file(weights | {more: spare.clone()}, folder / "model.safetensors", metadata={"format": "pt"})
        if read:
            resolve(folder)
        else:
            with pytest.raises(BadInput, match=rf"has 1 weights that its network has no place for \({more}"):
                resolve(folder)


@pytest.mark.parametrize("odd", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused(folder, odd):
    weights = load_file(folder / "model.safetensors")
    weights["roberta.encoder.layer.1.output.dense.bias"][3] = odd
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        BadInput, match=r"NaN or infinity in 1 of its tensors \(roberta\.encoder\.layer\.1\.output"
    ):
        resolve(folder)


def test_a_tokenizer_without_padding_is_refused(folder):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": None}))
    with pytest.raises(BadInput, match="has no padding token"):
        resolve(folder)


def test_a_tokenizer_whose_library_is_missing_is_refused(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}'
    )
    with pytest.raises(BadInput, match="cannot be read"):
        resolve(folder)


def test_a_folder_of_a_user_who_does_not_exist_is_refused():
    with pytest.raises(BadInput, match="no folder ~nosuchuser/model"):
        resolve("~nosuchuser/model")


@pytest.mark.parametrize("known", [True, False])
def test_code_in_a_model_s_folder_is_never_run_nor_asked_about(folder, monkeypatch, known):
    (folder / "theirs.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    auto = {"AutoConfig": "theirs.Config", "AutoModelForSequenceClassification": "theirs.Model"}
    edit_config(folder, auto_map=auto, **({} if known else {"model_type": "theirs"}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question"))
    for call in (check_model, resolve):
        if known:
            call(str(folder))
        else:
            with pytest.raises(BadInput, match=r"theirs|custom code|model_type"):
                call(str(folder))
    assert not (folder / "ran").exists()
