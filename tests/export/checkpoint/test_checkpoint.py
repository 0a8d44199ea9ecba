"""A cut network goes into a folder and comes back: the same numbers, on every architecture, down to nothing."""

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

import pipeline
from pipeline.export.checkpoint import layout, whole_folder, write_checkpoint, write_record
from pipeline.model import modeling_cut
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.surgery import cut, masked
from pipeline.study.records import BadInput, Masks
from pipeline.task.batches import encoder_inputs
from pipeline.trial.conformance.networks import tiny_batch, tiny_network
from tests.kit.networks import KINDS

LAYERS, HEADS, NEURONS = 3, 4, 64
EVERY = sorted(ARCHITECTURES)
TOKENIZER = {"tokenizer_config.json": b"{}"}


def logits(model, batch) -> torch.Tensor:
    with torch.no_grad():
        return model(**encoder_inputs(batch)).logits


def masks_of(*, heads: tuple[int, ...], neurons: tuple[int, ...], gone: tuple[int, ...] = ()) -> Masks:
    """The last heads and neurons of each layer, so many; whole layers gone."""
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    for layer in range(LAYERS):
        masks.heads[layer, : HEADS - heads[layer]] = False
        masks.neurons[layer, : NEURONS - neurons[layer]] = False
    masks.layers[list(gone)] = masks.heads[list(gone)] = masks.neurons[list(gone)] = False
    return masks


NAMED = {
    "dense": masks_of(heads=(4, 4, 4), neurons=(64, 64, 64)),
    "all heads of a layer": masks_of(heads=(4, 0, 2), neurons=(64, 64, 5)),
    "the ffn of a layer": masks_of(heads=(4, 3, 4), neurons=(0, 64, 64)),
    "a whole layer": masks_of(heads=(4, 4, 1), neurons=(64, 9, 64), gone=(1,)),
    "one head, one neuron": masks_of(heads=(0, 1, 0), neurons=(0, 0, 1)),
    "norms alone": masks_of(heads=(0, 0, 0), neurons=(0, 0, 0)),
    "no layer": masks_of(heads=(0, 0, 0), neurons=(0, 0, 0), gone=(0, 1, 2)),
}


@st.composite
def random_masks(draw) -> Masks:
    """Each block whole, partly there, one unit or none; each layer there or gone."""
    masks = Masks.full(LAYERS, HEADS, NEURONS)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for layer in range(LAYERS):
        for units in (masks.heads[layer], masks.neurons[layer]):
            keep = draw(st.sampled_from([0, 1, len(units) // 2, len(units)]))
            units[generator.permutation(len(units))[keep:]] = False
        if draw(st.integers(0, 3)) == 0:
            masks.layers[layer] = masks.heads[layer] = masks.neurons[layer] = False
    return masks


@pytest.fixture(scope="module")
def dense(make_model, make_batch):
    return {kind: (*make_model(kind, layers=LAYERS), make_batch(kind)) for kind in EVERY}


def saved(folder, model, anatomy, masks):
    """The cut network, written; gives the cut network itself."""
    smaller, its_anatomy = copy.deepcopy((model, anatomy))
    its_anatomy = cut(smaller, its_anatomy, masks)
    with whole_folder(folder) as part:
        write_checkpoint(part, smaller, its_anatomy, tokenizer_files=TOKENIZER)
        write_record(part, {"study": "toy"})
    return smaller, its_anatomy


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(EVERY), masks=random_masks())
def test_what_comes_back_computes_what_the_masked_network_does(dense, kind, masks, tmp_path_factory):
    model, anatomy, batch = dense[kind]
    with masked(model, anatomy, masks):
        expected = logits(model, batch)
    folder = tmp_path_factory.mktemp("checkpoint") / "to"
    saved(folder, model, anatomy, masks)
    loaded = pipeline.load(folder)
    torch.testing.assert_close(logits(loaded, batch), expected, rtol=1e-5, atol=1e-5)
    tensors = load_file(folder / "model.safetensors")  # no more than what stays is on disk
    assert sum(t.numel() for t in tensors.values()) == anatomy.costs.other + anatomy.costs.kept(masks)


@pytest.mark.parametrize("masks", NAMED.values(), ids=NAMED.keys())
def test_the_extremes_come_back_bit_for_bit(architecture, masks, dense, tmp_path):
    model, anatomy, batch = dense[architecture]
    smaller, _ = saved(tmp_path / "to", model, anatomy, masks)
    loaded = pipeline.load(tmp_path / "to")
    assert torch.equal(logits(loaded, batch), logits(smaller, batch))
    assert not loaded.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in loaded.modules())
    assert loaded.config._attn_implementation == "sdpa"
    assert all(p.is_contiguous() and p.dtype == torch.float32 for p in loaded.parameters())


def test_the_layout_counts_what_stays(make_model):
    model, anatomy = make_model("bert", layers=LAYERS)
    masks = masks_of(heads=(3, 4, 0), neurons=(64, 64, 7), gone=(1,))
    assert layout(cut(model, anatomy, masks)) == [
        {"layer": 0, "heads": 3, "neurons": 64},
        {"layer": 2, "heads": 0, "neurons": 7},
    ]


def kernels(model, batch) -> list[str]:
    """The names of the operators that one forward pass runs, in order."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Names(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Names() as names:
        model(**encoder_inputs(batch))
    return names.seen


def test_a_block_that_is_gone_costs_its_norm_and_nothing_else(architecture, make_model, make_batch, tmp_path):
    """Against the same network without any layer: two kernels of LayerNorm per layer are all that is added."""
    bare, empty = make_model(architecture, layers=LAYERS), make_model(architecture, layers=LAYERS)
    batch = make_batch(architecture)
    saved(tmp_path / "bare", *bare, NAMED["norms alone"])
    saved(tmp_path / "empty", *empty, NAMED["no layer"])
    cut(*bare, NAMED["norms alone"])
    norms = sorted([*kernels(pipeline.load(tmp_path / "empty"), batch), *["native_layer_norm"] * 2 * LAYERS])
    assert sorted(kernels(pipeline.load(tmp_path / "bare"), batch)) == norms
    assert sorted(kernels(bare[0], batch)) == norms  # and so in a trial


def test_fused_attention_is_used(architecture, make_model, make_batch, tmp_path):
    model, anatomy = make_model(architecture, layers=LAYERS)
    saved(tmp_path / "to", model, anatomy, masks_of(heads=(1, 0, 3), neurons=(9, 64, 0)))
    names = kernels(pipeline.load(tmp_path / "to"), make_batch(architecture))
    assert sum("scaled_dot_product" in name for name in names) == 2
    assert sum(name in ("softmax", "_softmax") for name in names) == 0


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_it_compiles_without_a_break(kind, make_model, make_batch, tmp_path):
    model, anatomy = make_model(kind, layers=LAYERS)
    saved(tmp_path / "to", model, anatomy, masks_of(heads=(1, 0, 4), neurons=(9, 64, 0)))
    loaded, batch = pipeline.load(tmp_path / "to"), make_batch(kind)
    whole = torch.compile(loaded, fullgraph=True, backend="eager")
    torch.testing.assert_close(logits(whole, batch), logits(loaded, batch), rtol=1e-5, atol=1e-5)
    torch._dynamo.reset()


def test_it_trains_and_saves_on(make_model, make_batch, tmp_path):
    """A user may fine-tune what was exported and save it the library's way."""
    model, anatomy = make_model("distilbert", layers=LAYERS)
    saved(tmp_path / "to", model, anatomy, masks_of(heads=(1, 0, 4), neurons=(9, 64, 0)))
    loaded, batch = pipeline.load(tmp_path / "to"), make_batch("distilbert")
    loaded.train()
    loaded(**encoder_inputs(batch), labels=batch["labels"]).loss.backward()
    assert not {n for n, p in loaded.named_parameters() if p.grad is None and "layer." in n}
    loaded.eval().save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "modeling_cut.py").exists()
    assert torch.equal(logits(pipeline.load(tmp_path / "again"), batch), logits(loaded, batch))


def test_a_hooked_network_is_not_written(make_model, tmp_path):
    model, anatomy = make_model("bert")
    for spoil in (
        lambda: model.classifier.register_forward_hook(lambda *_: None),
        lambda: nn.utils.parametrizations.spectral_norm(model.bert.pooler.dense),
    ):
        handle = spoil()
        with pytest.raises(ValueError, match="plain network"), whole_folder(tmp_path / "to") as part:
            write_checkpoint(part, model, anatomy, tokenizer_files=TOKENIZER)
        assert list(tmp_path.iterdir()) == []
        if isinstance(handle, torch.utils.hooks.RemovableHandle):
            handle.remove()


@pytest.fixture
def folder(make_model, tmp_path):
    model, anatomy = make_model("bert", layers=LAYERS)
    saved(tmp_path / "to", model, anatomy, NAMED["a whole layer"])
    return tmp_path / "to"


def test_a_place_in_use_is_refused(folder, make_model):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(BadInput, match="a folder with files in it"), whole_folder(folder):
        pass
    with pytest.raises(BadInput, match="is a file"), whole_folder(folder / "config.json"):
        pass
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    empty = folder.parent / "empty"
    empty.mkdir()
    with whole_folder(empty) as part:
        (part / "x").touch()
    assert [path.name for path in empty.iterdir()] == ["x"]


def test_an_interruption_leaves_nothing(tmp_path):
    def broken_off() -> None:
        with whole_folder(tmp_path / "deep" / "to") as part:
            (part / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.parametrize("keep", [0, 7, 500, -1])
def test_damaged_weights_are_refused(folder, keep):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"is damaged.*Export it again"):
        pipeline.load(folder)


def change(folder, **settings) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def test_weights_of_another_layout_are_refused(folder):
    change(
        folder, cut_layout=[{"layer": 0, "heads": 4, "neurons": 64}, {"layer": 2, "heads": 0, "neurons": 64}]
    )
    with pytest.raises(BadInput, match="is damaged"):
        pipeline.load(folder)
    change(folder, cut_layout=[{"layer": 0, "heads": 4, "neurons": 64}])
    with pytest.raises(BadInput, match="is damaged"):
        pipeline.load(folder)


def test_a_newer_checkpoint_is_refused(folder):
    change(folder, cut_format=modeling_cut.FORMAT + 1)
    with pytest.raises(BadInput, match=r"has format 2, and this prunefront knows 1\. Update it"):
        pipeline.load(folder)
    with pytest.raises(ValueError, match="has format 2, this code knows 1"):
        modeling_cut.CutBertModel(modeling_cut.CutBertConfig(cut_format=2))


def test_a_folder_of_an_earlier_version_is_read(folder, make_model, make_batch):
    """Its configuration has no row and no number of dense layers."""
    batch = make_batch("bert")
    expected = logits(pipeline.load(folder), batch)
    config = json.loads((folder / "config.json").read_text())
    for key in ("cut_row", "cut_layers"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    assert torch.equal(logits(pipeline.load(folder), batch), expected)


def test_transformers_loads_a_folder_of_every_new_kind(tmp_path):
    """By from_pretrained, with the code in the folder; fresh environments: test_strangers.py."""
    import transformers

    for kind in sorted(set(ARCHITECTURES) - set(KINDS)):
        model, anatomy = tiny_network(kind)
        masks = masks_of(heads=(4, 0, 2), neurons=(64, 9, 0))
        masks.heads[0] = masks.neurons[0] = masks.layers[0] = kind != "modernbert"
        saved(tmp_path / kind, model, anatomy, masks)
        batch = tiny_batch(kind)
        end = "ForImageClassification" if "pixel_values" in batch else "ForSequenceClassification"
        loaded = getattr(transformers, f"AutoModel{end}").from_pretrained(
            tmp_path / kind, trust_remote_code=True
        )
        assert torch.equal(logits(loaded, batch), logits(pipeline.load(tmp_path / kind), batch)), kind
        base = transformers.AutoModel.from_pretrained(tmp_path / kind, trust_remote_code=True)
        assert type(base).__name__ == f"{type(loaded).__name__.removesuffix(end)}Model"
        with torch.no_grad():
            found, inside = (each(**encoder_inputs(batch))[0] for each in (base, loaded.base_model))
        assert torch.equal(found, inside), kind


def test_what_is_no_checkpoint_is_refused(tmp_path, make_model):
    with pytest.raises(BadInput, match=r"config\.json is not there"):
        pipeline.load(tmp_path)
    make_model("bert")[0].save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=r"model of type 'bert', which .* Load it with transformers"):
        pipeline.load(tmp_path)
    for text in ("{", "[]", "null"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(BadInput, match="cannot be read"):
            pipeline.load(tmp_path)


def test_the_study_s_record_lies_beside(folder):
    assert json.loads((folder / "prunefront.json").read_text()) == {"study": "toy"}
