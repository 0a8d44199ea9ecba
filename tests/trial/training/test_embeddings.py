"""Training seen words alone gives what training all of them gives."""

import copy

import pytest
import torch
import transformers
from torch import nn

from pipeline.task.batches import encoder_inputs
from pipeline.trial.conformance.networks import tiny_network, tiny_rows
from pipeline.trial.training.embeddings import SeenWords, Vocabulary
from pipeline.trial.training.loop import Loop, Phase
from pipeline.trial.training.recipe import Recipe
from tests.kit.kinds import CLASSES

RECIPE = Recipe(1e-2, 4, 0.1, 0.1, "fp32", kind=CLASSES)


class Ears:
    def __init__(self) -> None:
        self.tables: list[torch.Tensor] = []
        self.model: nn.Module | None = None

    def on_epoch(self, epoch, values) -> None:
        assert isinstance(self.model.get_input_embeddings(), nn.Embedding)
        self.tables.append(self.model.get_input_embeddings().weight.detach().clone())

    def on_step(self, state) -> None:
        assert isinstance(self.model.get_input_embeddings(), SeenWords)


def test_the_trained_network_is_that_of_the_whole_table(architecture, make_model, make_split, monkeypatch):
    start, split = make_model(architecture), make_split(architecture, rows=7)
    assert 0.2 < split.words(100).mean() < 0.75
    found, tables = [], []
    for worth in (0.0, 0.75):
        monkeypatch.setattr("pipeline.trial.training.embeddings.MOST_SEEN", worth)
        model, anatomy = copy.deepcopy(start)
        whole = model.get_input_embeddings()
        ears = Ears()
        if worth:
            ears.model = model
        else:
            ears.on_step, ears.model = lambda state: None, model
        Loop(model, anatomy, split, Phase("tune", 0, 0, 5, 0), RECIPE, ears).fit()
        assert model.get_input_embeddings() is whole
        found.append(model.state_dict())
        tables.append(ears.tables)
    unseen = torch.from_numpy(~split.words(100))
    before = start[0].get_input_embeddings().weight[unseen]
    assert (tables[1][-1][unseen].abs() < before.abs()).all()  # decay, and nothing else
    assert list(found[0]) == list(found[1])
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-5, atol=1e-6)
    for one, other in zip(*tables, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_what_the_network_puts_out_is_the_same_with_its_seen_words_only(architecture, make_model, make_split):
    model, _ = make_model(architecture)
    split = make_split(architecture, rows=6)
    inputs = encoder_inputs(next(iter(split.in_length_order(6))))
    with torch.no_grad():
        expected = model(**inputs).logits
        words = Vocabulary(model, split)
        with words.reduced():
            assert isinstance(model.get_input_embeddings(), SeenWords)
            assert torch.equal(model(**inputs).logits, expected)
        assert torch.equal(model(**inputs).logits, expected)


def test_after_an_error_all_words_are_back(make_model, make_split):
    model, _ = make_model()
    before = copy.deepcopy(model.state_dict())
    words = Vocabulary(model, make_split(rows=4))
    with words.reduced():
        with pytest.raises(IndexError), words.whole():
            raise IndexError
        assert isinstance(model.get_input_embeddings(), SeenWords)
    with pytest.raises(KeyError), words.reduced():
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_table_that_is_seen_nearly_whole_stays(make_model, make_split):
    model, _ = make_model()
    with Vocabulary(model, make_split(rows=100)).reduced():
        assert isinstance(model.get_input_embeddings(), nn.Embedding)


def test_tables_of_predicted_words_and_images_stay_whole(make_split):
    config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=100, n_positions=40)
    tied = transformers.GPT2LMHeadModel(config)
    for model, rows in ((tied, make_split("bert", rows=7)), (tiny_network("vit")[0], tiny_rows("vit"))):
        whole = model.get_input_embeddings()
        words = Vocabulary(model, rows)
        with words.reduced(), words.whole():
            assert model.get_input_embeddings() is whole
    loose = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**config.to_dict() | {"tie_word_embeddings": False})
    )
    with Vocabulary(loose, make_split("bert", rows=7)).reduced():
        assert isinstance(loose.get_input_embeddings(), SeenWords)
