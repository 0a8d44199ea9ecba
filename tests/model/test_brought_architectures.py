"""The architectures beside BERT's families: cut before, or with a trimmed vocabulary, each computes what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from pipeline.export.checkpoint import load, write_checkpoint
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.builtin import word_pieces
from pipeline.model.heads import Head
from pipeline.model.resolve import resolve_model
from pipeline.model.source import ModelSource, build, tokenizer
from pipeline.model.surgery import cut, masked
from pipeline.model.trim import trim_source
from tests.kit.networks import KINDS

OF_IMAGES = ("dinov3_vit", "vit")
OTHERS = sorted({*ARCHITECTURES} - {*KINDS, *OF_IMAGES})
WORDS = ["the bright river of people and a tired story", "every scene"]


def write_tokenizer(folder: Path, *, pads: int) -> dict[str, bytes]:
    pieces = [*word_pieces([*WORDS, "noisy crowds"] * 4, size=100)]
    pieces[0], pieces[pads] = pieces[pads], pieces[0]  # [PAD] is where the network has it
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    transformers.BertTokenizer(vocab=vocabulary, do_lower_case=True).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("tokenizer")}


def resolve(folder: Path) -> ModelSource:
    names = ("LABEL_0", "LABEL_1", "LABEL_2")
    return resolve_model(str(folder), head=Head(names), train_texts=[])


def test_a_network_that_was_cut_before_is_read_as_it_is(
    make_model: Any, make_batch: Any, tmp_path: Path
) -> None:
    for kind in OTHERS:
        model, anatomy = make_model(kind, layers=4)
        masks = anatomy.present
        # a layer may be of a kind that depends on its place, the first one above all
        masks.heads[1, :3] = masks.heads[2] = masks.neurons[3] = masks.neurons[1, 10:] = False
        masks.heads[0] = masks.neurons[0] = masks.layers[0] = False
        left = cut(model, anatomy, masks)
        (tmp_path / kind).mkdir()
        files = write_tokenizer(tmp_path / f"{kind}-tokenizer", pads=model.config.pad_token_id or 0)
        write_checkpoint(tmp_path / kind, model, left, tokenizer_files=files)
        again, parts = build(resolve(tmp_path / kind), seed=0)
        rows = {k: v for k, v in make_batch(kind).items() if k not in ("labels", "rows")}
        with torch.no_grad():
            difference = (again(**rows).logits - model(**rows).logits).abs().max().item()
        assert difference == 0.0, kind
        assert parts.costs.compression(parts.present) == 0.0, kind
        assert [len(layer.heads) for layer in parts.layers] == [1, 0, anatomy.heads_per_layer], kind
        more = parts.present
        more.heads[3, :2] = more.neurons[1, 2:] = False
        with torch.no_grad():
            with masked(again, parts, more):
                expected = again(**rows).logits
            left = cut(again, parts, more)
            (tmp_path / f"{kind}-again").mkdir()
            write_checkpoint(tmp_path / f"{kind}-again", again, left, tokenizer_files=files)
            third, _ = build(resolve(tmp_path / f"{kind}-again"), seed=0)
            for each in (load(tmp_path / f"{kind}-again"), third):
                torch.testing.assert_close(each(**rows).logits, expected, rtol=1e-4, atol=1e-5, msg=kind)


def test_a_trimmed_vocabulary_changes_no_logits(make_model: Any, tmp_path: Path) -> None:
    for kind in OTHERS:
        folder = tmp_path / kind
        model, _ = make_model(kind)
        model.save_pretrained(folder)
        write_tokenizer(folder, pads=model.config.pad_token_id or 0)
        source = resolve(folder)
        small, vocabulary = trim_source(source, WORDS)
        logits = []
        for each in (source, small):
            network, parts = build(each, seed=0)
            rows = tokenizer(each)(WORDS, padding=True, return_tensors="pt")
            if (each.config.get("type_vocab_size") or 0) < 2:
                rows.pop("token_type_ids", None)
            with torch.no_grad():
                logits.append(network(**rows).logits)
            there = sum(parameter.numel() for parameter in network.parameters())
        assert torch.equal(*logits), kind
        assert parts.costs.model == there + vocabulary.parameters, kind
