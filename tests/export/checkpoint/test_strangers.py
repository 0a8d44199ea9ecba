"""Who has torch and transformers, 4 or 5, and nothing of ours, gets the numbers that we get."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

from pipeline.export.checkpoint import load, load_tokenizer, whole_folder, write_checkpoint, write_plain
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.builtin import word_pieces
from pipeline.model.surgery import cut
from pipeline.model.trim import tokenizer_files
from pipeline.model.vocabulary import needed_tokens
from pipeline.study.records import Masks
from pipeline.task.batches import encoder_inputs
from pipeline.trial.conformance.networks import tiny_batch, tiny_network
from tests.kit.abilities import NOT_IN_4
from tests.kit.environments import with_transformers_4, with_transformers_5
from tests.kit.networks import KINDS

LAYERS, HEADS, NEURONS = 5, 4, 64
TRIMMED = ("bert", "roberta", "xlm-roberta")  # WordPiece, BPE, Unigram
WORDS = ["the bright river of people and a tired story", "every scene of the story was bright or tired"]
LEFT = {0: (2, 64), 1: (0, 7), 2: (4, 0), 3: (0, 0)}  # layer -> heads and neurons; layer 4 is gone


def masks() -> Masks:
    kept = Masks.full(LAYERS, HEADS, NEURONS)
    for layer, (heads, neurons) in LEFT.items():
        kept.heads[layer, heads:] = False
        kept.neurons[layer, : NEURONS - neurons] = False
    kept.layers[4] = kept.heads[4] = kept.neurons[4] = False
    return kept


def tokenizer_of(kind: str):
    """A small one of the kind that such a model comes with."""
    if kind in ("bert", "distilbert", "electra"):
        return transformers.BertTokenizer(vocab=word_pieces(WORDS * 4, size=100), do_lower_case=True)
    if kind == "roberta":
        pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted({*"".join(WORDS), "Ġ"} - {" "})]
        return transformers.RobertaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [(letter, -4.0) for letter in sorted({*"".join(WORDS)} - {" "})] + [
        ("▁the", -2.0),
        ("<mask>", 0.0),
    ]
    classes = {"xlm-roberta": transformers.XLMRobertaTokenizer, "camembert": transformers.CamembertTokenizer}
    return classes[kind](vocab=pieces)


@pytest.fixture(scope="module")
def exported(make_model, make_batch, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exported")
    folders = {}
    for kind in KINDS:
        model, anatomy = make_model(kind, layers=LAYERS)
        anatomy = cut(model, anatomy, masks())
        tokenizer_of(kind).save_pretrained(root / f"{kind}-tokenizer")
        files = {path.name: path.read_bytes() for path in (root / f"{kind}-tokenizer").iterdir()}
        if kind in TRIMMED:
            fast = transformers.AutoTokenizer.from_pretrained(root / f"{kind}-tokenizer", config=model.config)
            files = tokenizer_files(fast, needed_tokens(fast, WORDS[:1]))
        folders[kind] = root / f"cut-{kind}"
        with whole_folder(folders[kind]) as part:
            write_checkpoint(part, model, anatomy, tokenizer_files=files)
        save_file(encoder_inputs(make_batch(kind)), folders[kind].with_suffix(".inputs"))
    return folders


@pytest.mark.long
@pytest.mark.parametrize("environment", [with_transformers_4, with_transformers_5])
def test_every_row_loads_where_the_page_says(environment, tmp_path):
    """The table of docs/guide/architectures.md; and plain folders of images, whose classes were renamed in 5."""
    old, expected = environment is with_transformers_4, {}
    for kind in sorted(ARCHITECTURES):
        model, anatomy = tiny_network(kind, layers=LAYERS)
        kept = masks()
        if kind == "vit":
            plain = anatomy.present
            plain.neurons[:, 20:] = plain.layers[4] = plain.neurons[4] = plain.heads[4] = False
            uniform, its_anatomy = copy.deepcopy((model, anatomy))
            write(tmp_path / "plain", kind, uniform, cut(uniform, its_anatomy, plain), expected, write_plain)
        write(tmp_path / kind, kind, model, cut(model, anatomy, kept), expected, write_checkpoint)
    here = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    command = [environment(), "-I", Path(__file__).with_name("stranger.py"), "--logits"]
    run = subprocess.run(
        [*command, *(tmp_path / name for name in expected)],
        capture_output=True, text=True, env=here, cwd=tmp_path, check=False, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    said = json.loads(run.stdout.splitlines()[-1])
    loaded = {name for name, found in said.items() if not isinstance(found, str)}
    assert loaded == set(expected) - (NOT_IN_4 if old else set()), said
    for name in sorted(loaded):
        torch.testing.assert_close(torch.tensor(said[name]), expected[name], rtol=1e-4, atol=1e-5, msg=name)


def write(folder: Path, kind: str, model, anatomy, expected: dict[str, torch.Tensor], writer) -> None:
    """An exported folder, rows beside it, and what its network computes for them."""
    folder.mkdir()
    writer(folder, model, anatomy, tokenizer_files={})
    inputs = encoder_inputs(tiny_batch(kind))
    save_file(inputs, folder.with_suffix(".inputs"))
    with torch.no_grad():
        expected[folder.name] = model(**inputs).logits


@pytest.mark.long
@pytest.mark.parametrize("environment", [with_transformers_4, with_transformers_5])
def test_a_fresh_environment_computes_the_same(environment, exported, make_batch, tmp_path):
    python = environment()
    here = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    script = Path(__file__).with_name("stranger.py")
    run = subprocess.run(
        [python, "-I", script, *exported.values()],
        capture_output=True, text=True, env=here, cwd=tmp_path, check=False, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    said = json.loads(run.stdout.splitlines()[-1])
    assert not said["pipeline"]
    assert not {"prunefront", "optuna", "ray", "mlflow", "datasets", "scikit-learn", "pandas"} & set(
        said["there"]
    )
    assert said["transformers"].startswith("4.57" if environment is with_transformers_4 else "5.")
    assert "trust_remote_code" in said["untrusted"]  # and not a network of random numbers
    for kind, folder in exported.items():
        told, loaded = said["outcomes"][folder.name], load(folder)
        with torch.no_grad():
            expected = loaded(**encoder_inputs(make_batch(kind))).logits
        torch.testing.assert_close(torch.tensor(told["logits"]), expected, rtol=1e-5, atol=1e-5)
        assert told["class"] == type(loaded).__name__
        assert not told["training"]
        # transformers 4 has no fused attention for ELECTRA
        old = environment is with_transformers_4
        assert told["attention"] == ("eager" if old and kind == "electra" else "sdpa")
        assert told["base_difference"] < 1e-5
        assert told["eager_difference"] < 1e-5
        assert told["heads"] == [2, 4]  # of the blocks that are there
        assert told["saved_again"]
        assert told["labels"] == loaded.config.id2label[1]
        tokens = load_tokenizer(folder)("the bright river of people", "and a tired story")["input_ids"]
        assert told["tokens"] == tokens
        assert len(tokens) > 8
