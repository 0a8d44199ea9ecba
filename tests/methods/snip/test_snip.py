"""SNIP: by hand where f(x) is known, else against the plain formulas, autograd and materialised heads."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.methods.base import Run
from pipeline.methods.snip.norms import head_power_sums, masked_power_sum, power_sums
from pipeline.methods.snip.snip import NORM_FLOOR, Snip
from pipeline.model.anatomy import encoder_layers
from pipeline.model.device import forms_of_a_gpu
from pipeline.model.surgery import cut, masked
from pipeline.task.batches import encoder_inputs
from pipeline.trial.conformance.networks import tiny_batch, tiny_network
from tests.kit.snip import snip

LAYERS, HEADS, HEAD_SIZE, WIDTH = 3, 4, 8, 32
# Parameters of a unit of the tiny BERT: a head has 3 (8 · 32 + 8) + 32 · 8, an attention block four of them
# and 32 biases, an ffn block 2 · 64 · 32 weights and 64 + 32 biases.
HEAD_PARAMETERS, ATTENTION_PARAMETERS, FFN_PARAMETERS = 1_048, 4_224, 4_192


def run_of(steps: int = 10, seed: int = 0) -> Run:
    return Run(steps, train_rows=12, target=None, generator=torch.Generator().manual_seed(seed))


def penalty_of(method: Snip, model, anatomy, *batches) -> list[torch.Tensor]:
    """The penalties of forward passes in eval mode (no dropout), with gradients."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    found = []
    with method.watch(model, anatomy, optimizer, run_of()):
        for batch in batches:
            model(**encoder_inputs(batch))
            found.append(method.penalty(batch))
    return found


def branch_outputs(
    model, anatomy, batch
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """f(x) [real tokens, d] of each attention block and each ffn block; the context [real tokens, h k]."""
    outputs, inputs = {}, {}

    def keep(module: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> None:
        inputs[module], outputs[module] = args[0][real], output[real]

    real = batch["attention_mask"].bool()
    attention = [part.attention_output for part in anatomy.layers]
    ffn = [part.ffn_out for part in anatomy.layers]
    hooks = [module.register_forward_hook(keep) for module in attention + ffn]
    model(**encoder_inputs(batch))
    for hook in hooks:
        hook.remove()
    return [outputs[m] for m in attention], [outputs[m] for m in ffn], [inputs[m] for m in attention]


def plain_norm(f: torch.Tensor, norm: str) -> torch.Tensor:
    return f.square().mean().sqrt() if norm == "rms" else f.abs().mean()


def constant_branches(model, anatomy, *, attention: list[float], ffn: list[float]) -> None:
    """Makes f(x) of every block a constant vector: half of the features +c, half -c."""
    signs = torch.tensor([1.0, -1.0]).repeat(WIDTH // 2)
    with torch.no_grad():
        for part, a, b in zip(anatomy.layers, attention, ffn, strict=True):
            part.attention_output.weight.zero_()
            part.attention_output.bias.copy_(a * signs)
            part.ffn_out.weight.zero_()
            part.ffn_out.bias.copy_(b * signs)


@pytest.mark.parametrize("norm", ["mean_abs", "rms"])
def test_equations_1_and_2_by_hand(make_model, make_batch, norm: str):
    model, anatomy = make_model()
    constant_branches(model, anatomy, attention=[1.0, 2.0, 3.0], ffn=[4.0, 5.0, 6.0])
    batch = make_batch()
    method = snip(norm=norm, penalty_strength=2.0, ffn_weight=3.0)
    (penalty,) = penalty_of(method, model, anatomy, batch)
    # 2 · (1 + 2 + 3 + 3 (4 + 5 + 6)) / (3 + 3 · 3)
    assert penalty.item() == pytest.approx(2 * 51 / 12, rel=1e-5)
    scores = method.score(model, anatomy, [batch])
    assert scores.attention == pytest.approx([1, 2, 3], rel=1e-5)
    assert scores.ffn == pytest.approx([4 / 3, 5 / 3, 2], rel=1e-5)  # divided by the weight


def test_the_log_shape_by_hand(make_model, make_batch):
    model, anatomy = make_model()
    constant_branches(model, anatomy, attention=[1.0, 1.0, 1.0], ffn=[3.0, 3.0, 3.0])
    (penalty,) = penalty_of(snip(shape="log", delta=0.5), model, anatomy, make_batch())
    assert penalty.item() == pytest.approx((0.5 * math.log(3) + 0.5 * math.log(7)) / 2, rel=1e-5)


@pytest.mark.parametrize(("norm", "expected"), [("rms", 0.5), ("mean_abs", 0.25)])
def test_head_norms_by_hand(make_model, make_batch, norm: str, expected: float):
    model, anatomy = make_model()
    with torch.no_grad():
        for part in anatomy.layers:
            part.value.weight.zero_()  # the context of a head is its value bias at every token
            part.value.bias.copy_(torch.tensor([1.0, 2.0, 0.0, 3.0]).repeat_interleave(HEAD_SIZE))
            part.attention_output.weight.copy_(torch.eye(WIDTH))
            part.attention_output.bias.fill_(100.0)  # belongs to no head
    scores = snip(level="head", norm=norm).score(model, anatomy, [make_batch()])
    # A_h is v in 8 of 32 features: rms v √(1/4), mean v / 4
    assert scores.heads == pytest.approx(
        np.tile([expected, 2 * expected, NORM_FLOOR, 3 * expected], (LAYERS, 1)), rel=1e-4
    )


# mean_abs of heads is a stand-in, tested on its own
@pytest.mark.parametrize(("level", "norm"), [("block", "mean_abs"), ("block", "rms"), ("head", "rms")])
@pytest.mark.parametrize("shape", ["linear", "log"])
def test_the_penalty_and_its_gradient_are_those_of_the_plain_formula(
    make_model, make_batch, level: str, norm: str, shape: str
):
    model, anatomy = make_model()
    batch = make_batch()
    method = snip(level=level, norm=norm, shape=shape, delta=0.3, unit_weight="parameters", ffn_weight=0.7)
    (penalty,) = penalty_of(method, model, anatomy, batch)
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(penalty, parameters, allow_unused=True)

    attention, ffn, context = branch_outputs(model, anatomy, batch)
    if level == "head":
        units = [
            c[:, h * HEAD_SIZE : (h + 1) * HEAD_SIZE]
            @ part.attention_output.weight[:, h * HEAD_SIZE : (h + 1) * HEAD_SIZE].T
            for part, c in zip(anatomy.layers, context, strict=True)
            for h in range(HEADS)
        ]
        weights = [HEAD_PARAMETERS] * len(units) + [FFN_PARAMETERS] * LAYERS
    else:
        units, weights = attention, [ATTENTION_PARAMETERS] * LAYERS + [FFN_PARAMETERS] * LAYERS
    mean = sum(weights) / len(weights)
    w = [weight / mean * (1 if i < len(units) else 0.7) for i, weight in enumerate(weights)]
    norms = [plain_norm(f, norm) for f in units + ffn]
    costs = [0.3 * torch.log(1 + n / 0.3) if shape == "log" else n for n in norms]
    expected = sum(a * b for a, b in zip(w, costs, strict=True)) / sum(w)
    torch.testing.assert_close(penalty, expected, rtol=1e-5, atol=1e-6)
    for ours, plain in zip(found, torch.autograd.grad(expected, parameters, allow_unused=True), strict=True):
        assert (ours is None) == (plain is None)
        if ours is not None:
            torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-7)])
def test_masked_power_sum_and_its_gradient_against_autograd(power: int, dtype: torch.dtype, tolerance: float):
    generator = torch.Generator().manual_seed(power)
    f = torch.randn(5, 7, 33, generator=generator).to(dtype).requires_grad_()
    f.data[0, 0, 0] = 0.0
    f.data[3, 5:] = 1e4  # what stands in padding is nobody's business
    mask = torch.ones(5, 7)
    mask[3, 5:] = 0
    mask[1, 2:] = 0
    value = masked_power_sum(f, mask, power=power)
    (gradient,) = torch.autograd.grad(3.0 * value, f)
    exact = f.detach().double().requires_grad_()
    plain = (exact.abs() ** power * mask.unsqueeze(-1)).sum()
    (expected,) = torch.autograd.grad(3.0 * plain, exact)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert value.item() == pytest.approx(plain.item(), rel=1e-5)  # also from bf16: summed in fp32
    torch.testing.assert_close(gradient.double(), expected, rtol=tolerance, atol=0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01)])
def test_head_power_sums_are_those_of_materialised_heads(dtype: torch.dtype, tolerance: float):
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(3, 6, 4 * 5, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(11, 4 * 5, generator=generator, requires_grad=True)
    mask = torch.tensor([[1.0] * 6, [1.0] * 4 + [0.0] * 2, [1.0] + [0.0] * 5])
    found = head_power_sums(context, weight, mask, head_size=5, power=2)
    exact = context.detach().double().requires_grad_()
    heads = torch.einsum("bthk,dhk->bthd", exact.view(3, 6, 4, 5), weight.double().view(11, 4, 5))
    expected = (heads.square() * mask[..., None, None]).sum(dim=(0, 1, 3))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=0.0)
    per_head = torch.tensor([1.0, -2.0, 0.5, 3.0])
    ours = torch.autograd.grad(found @ per_head, (weight, context))
    plain = torch.autograd.grad(expected @ per_head.double(), (weight, exact))
    for one, other in zip(ours, plain, strict=True):
        near = 5 * tolerance * float(other.abs().max())
        torch.testing.assert_close(one.double(), other.double(), rtol=5 * tolerance, atol=near)


@pytest.mark.parametrize("power", [1, 2])
def test_a_gpu_sums_layers_of_one_shape_together(power: int):
    generator = torch.Generator().manual_seed(3)
    caught = [torch.randn(2, 5, width, generator=generator) for width in (8, 12, 8, 9, 9)]
    weights = [torch.randn(9, width, generator=generator) for width in (8, 12, 8)] + [None, None]
    mask = torch.tensor([[1.0] * 5, [1.0] * 3 + [0.0] * 2])

    def sums_and_gradients():
        learned = [each.clone().requires_grad_() for each in (*caught, *weights[:3])]
        found = power_sums(learned[:5], [*learned[5:], None, None], mask, sizes=[4, 4, 4, 0, 0], power=power)
        return found, torch.autograd.grad(found @ torch.arange(1.0, len(found) + 1), learned)

    each, its = sums_and_gradients()
    with forms_of_a_gpu():
        together, theirs = sums_and_gradients()
    assert len(each) == 2 + 3 + 2 + 2
    torch.testing.assert_close(together, each)
    for one, other in zip(theirs, its, strict=True):
        torch.testing.assert_close(one, other)


def test_the_stand_in_for_mean_abs_is_right_for_gaussian_context():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 3 * 8, generator=generator) * torch.rand(24, 1, generator=generator) * 4
    context = torch.randn(4, 5_000, 3 * 8, generator=generator) * torch.tensor(
        [0.1, 1.0, 5.0]
    ).repeat_interleave(8)
    mask = torch.ones(4, 5_000)
    mask[2:] = 0
    found = head_power_sums(context, weight, mask, head_size=8, power=1)
    heads = torch.einsum("bthk,dhk->bthd", context[:2].view(2, -1, 3, 8), weight.view(24, 3, 8))
    torch.testing.assert_close(found, heads.abs().sum(dim=(0, 1, 3)), rtol=0.01, atol=0.0)


@pytest.mark.parametrize("level", ["block", "head"])
@pytest.mark.parametrize("norm", ["mean_abs", "rms"])
def test_under_autocast_the_penalty_and_its_gradient_are_nearly_the_same(
    make_model, make_batch, level: str, norm: str
):
    model, anatomy = make_model()
    batch = make_batch()
    parameters = [part.attention_output.weight for part in anatomy.layers]
    (exact,) = penalty_of(snip(level=level, norm=norm), model, anatomy, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (rounded,) = penalty_of(snip(level=level, norm=norm), model, anatomy, batch)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.02)
    for a, b in zip(
        torch.autograd.grad(exact, parameters), torch.autograd.grad(rounded, parameters), strict=True
    ):
        assert nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.995


def test_a_norm_below_the_floor_has_a_finite_gradient(make_model, make_batch):
    model, anatomy = make_model()
    constant_branches(model, anatomy, attention=[0.0] * 3, ffn=[1.0] * 3)
    for reference in ("none", "pretrained"):
        (penalty,) = penalty_of(snip(reference=reference), model, anatomy, make_batch())
        penalty.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("level", ["block", "head"])
@pytest.mark.parametrize("norm", ["mean_abs", "rms"])
def test_padding_changes_nothing(make_model, make_batch, level: str, norm: str):
    model, anatomy = make_model()
    batch = make_batch()
    wider = {name: nn.functional.pad(value, (0, 9)) for name, value in encoder_inputs(batch).items()}
    method = snip(level=level, norm=norm)
    narrow, wide = penalty_of(method, model, anatomy, batch, wider)
    assert wide.item() == pytest.approx(narrow.item(), rel=1e-5)
    a, b = (method.score(model, anatomy, [each]) for each in (batch, wider))
    assert a.ffn == pytest.approx(b.ffn, rel=1e-5)


def test_strength_means_the_same_at_every_depth(make_model, make_batch):
    for layers in (1, 3):
        model, anatomy = make_model(layers=layers)
        constant_branches(model, anatomy, attention=[2.0] * layers, ffn=[2.0] * layers)
        for unit_weight in ("uniform", "parameters"):
            method = snip(penalty_strength=0.7, unit_weight=unit_weight, ffn_weight=1.7)
            (penalty,) = penalty_of(method, model, anatomy, make_batch())
            assert penalty.item() == pytest.approx(1.4, rel=1e-5)


def test_scores_are_divided_by_weights_that_are_parameters_over_their_mean(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    plain = snip().score(model, anatomy, [batch])
    weighted = snip(unit_weight="parameters", ffn_weight=2.0).score(model, anatomy, [batch])
    mean = (ATTENTION_PARAMETERS + FFN_PARAMETERS) / 2
    assert weighted.attention == pytest.approx(plain.attention / (ATTENTION_PARAMETERS / mean), rel=1e-9)
    assert weighted.ffn == pytest.approx(plain.ffn / (2 * FFN_PARAMETERS / mean), rel=1e-9)


def test_the_reference_is_the_norm_in_the_first_batch(make_model, make_batch):
    model, anatomy = make_model()
    first, second = make_batch(seed=1), make_batch(seed=2)
    method = snip(reference="pretrained", penalty_strength=0.5)
    at_first, at_second = penalty_of(method, model, anatomy, first, second)
    assert at_first.item() == pytest.approx(0.5, rel=1e-6)  # every N / ref is 1
    plain = snip()
    a, b = (plain.score(model, anatomy, [each]) for each in (first, second))
    ratios = np.concatenate([b.attention / a.attention, b.ffn / a.ffn])
    assert at_second.item() == pytest.approx(0.5 * ratios.mean(), rel=1e-5)
    scores = method.score(model, anatomy, [second])
    assert np.concatenate([scores.attention, scores.ffn]) == pytest.approx(ratios, rel=1e-5)


@pytest.mark.parametrize("level", ["block", "head"])
@pytest.mark.parametrize("norm", ["mean_abs", "rms"])
def test_scores_in_eval_mode_are_the_norms_of_the_penalty(make_model, make_batch, level: str, norm: str):
    model, anatomy = make_model()
    batch = make_batch()
    method = snip(level=level, norm=norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with method.watch(model, anatomy, optimizer, run_of()):
        model(**encoder_inputs(batch))
        method.penalty(batch)
        report = method.report()
    scores = method.score(model, anatomy, [batch])
    for layer in range(LAYERS):
        assert report[f"norm/ffn.{layer}"] == pytest.approx(scores.ffn[layer], rel=1e-5)
        if level == "block":
            assert report[f"norm/attention.{layer}"] == pytest.approx(scores.attention[layer], rel=1e-5)
        else:
            heads = [report[f"norm/head.{layer}.{head}"] for head in range(HEADS)]
            assert heads == pytest.approx(scores.heads[layer], rel=1e-5)
    assert len(report) == LAYERS * (2 if level == "block" else HEADS + 1)


def test_scores_are_means_over_tokens_however_these_are_batched(make_model, make_split):
    model, anatomy = make_model()
    split = make_split(rows=13)
    one, many = (snip().score(model, anatomy, split.in_length_order(size)) for size in (13, 2))
    assert one.attention == pytest.approx(many.attention, rel=1e-5)
    assert one.ffn == pytest.approx(many.ffn, rel=1e-5)


@pytest.mark.parametrize("level", ["block", "head"])
def test_units_that_are_gone_count_with_norm_0(make_model, make_batch, level: str):
    model, anatomy = make_model()
    batch = make_batch()
    masks = anatomy.present
    masks.heads[0] = False
    masks.heads[1, :3] = False
    masks.neurons[2] = False
    anatomy = cut(model, anatomy, masks)
    method = snip(level=level, ffn_weight=2.0)
    (penalty,) = penalty_of(method, model, anatomy, batch)
    scores = method.score(model, anatomy, [batch])
    if level == "block":
        assert np.isnan(scores.attention).tolist() == [True, False, False]
        total, units = 3 + 2 * 3, scores.attention
    else:
        assert (np.isnan(scores.heads) == ~masks.heads).all()
        total, units = 12 + 2 * 3, scores.heads
    assert np.isnan(scores.ffn).tolist() == [False, False, True]
    expected = (np.nansum(units) + 2 * np.nansum(2 * scores.ffn)) / total  # a score is divided by its weight
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_the_reference_outlives_a_cut(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = snip(reference="pretrained", level="head")
    penalty_of(method, model, anatomy, batch)
    before = method.score(model, anatomy, [batch])
    masks = anatomy.present
    masks.heads[2, 1:] = False  # in the last layer: what the others see stays the same
    anatomy = cut(model, anatomy, masks)
    penalty_of(method, model, anatomy, batch)
    after = method.score(model, anatomy, [batch])
    assert before.heads == pytest.approx(np.ones((LAYERS, HEADS)), rel=1e-4)
    assert after.heads[masks.heads] == pytest.approx(before.heads[masks.heads], rel=1e-4)


def test_a_pass_without_gradients_between_forward_and_penalty_is_not_seen(make_model, make_batch):
    model, anatomy = make_model()
    batch, other = make_batch(seed=1), make_batch(seed=2)
    (expected,) = penalty_of(snip(), model, anatomy, batch)
    method = snip()
    with method.watch(model, anatomy, torch.optim.SGD(model.parameters(), lr=0.0), run_of()):
        model(**encoder_inputs(batch))
        with torch.inference_mode():
            model(**encoder_inputs(other))
        assert method.penalty(batch).item() == expected.item()


def test_a_penalty_without_its_forward_pass_is_refused(make_model, make_batch):
    model, anatomy = make_model()
    batch = make_batch()
    method = snip()
    with pytest.raises(RuntimeError, match="forward pass inside watch"):
        method.penalty(batch)
    with method.watch(model, anatomy, torch.optim.SGD(model.parameters(), lr=0.0), run_of()):
        model(**encoder_inputs(batch))
        method.penalty(batch)
        with pytest.raises(RuntimeError, match="forward pass inside watch"):
            method.penalty(batch)


def sigma(weight: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.detach().double(), ord=2))


@pytest.mark.parametrize("scope", ["branch", "output"])
def test_the_bound_holds_the_matrices_of_its_scope_and_touches_no_other(make_model, scope: str):
    model, anatomy = make_model()
    before = copy.deepcopy(model.state_dict())
    method = snip(spectral_bound="absolute", bound_absolute=0.5, bound_scope=scope)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with method.watch(model, anatomy, optimizer, run_of()):
        for _ in range(30):
            optimizer.step()
    bounded = {id(p.attention_output.weight) for p in anatomy.layers} | {
        id(p.ffn_out.weight) for p in anatomy.layers
    }
    if scope == "branch":
        bounded |= {id(part.ffn_in.weight) for part in anatomy.layers}
    for name, parameter in model.named_parameters():
        if id(parameter) in bounded:
            assert sigma(parameter) == pytest.approx(0.5, rel=0.05)
        else:
            assert torch.equal(parameter, before[name]), name


def test_the_relative_bound_falls_over_its_part_of_the_tuning(make_model):
    model, anatomy = make_model()
    weight = anatomy.layers[1].attention_output.weight
    first = sigma(weight)
    method = snip(spectral_bound="relative", bound_relative=0.25, bound_warmup=0.4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    seen = []
    with method.watch(model, anatomy, optimizer, run_of(steps=10)):
        for _ in range(6):
            optimizer.step()
            seen.append(sigma(weight) / first)
    assert seen == pytest.approx([0.25 ** (i / 4) for i in (1, 2, 3, 4, 4, 4)], rel=0.05)


@pytest.mark.parametrize("form", ["block", "head"])
@pytest.mark.parametrize("stop", [1, 4])
def test_stopped_and_continued_is_bit_equal(make_model, make_batch, form: str, stop: int):
    settings = {
        "level": form,
        "reference": "pretrained",
        "shape": "log",
        "spectral_bound": "relative",
        "bound_warmup": 0.5,
    }
    start, batch = make_model(), make_batch()

    def train(method: Snip, model, anatomy, steps: range, run: Run) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        model.train()
        with method.watch(model, anatomy, optimizer, run):
            for step in steps:
                torch.manual_seed(step)  # dropout
                loss = model(**encoder_inputs(batch)).logits.square().mean()
                (loss + method.penalty(batch)).backward()
                optimizer.step()
                optimizer.zero_grad()

    whole, whole_anatomy = copy.deepcopy(start)
    through = snip(**settings)
    train(through, whole, whole_anatomy, range(6), run_of(6))
    halves, halves_anatomy = copy.deepcopy(start)
    before, after = snip(**settings), snip(**settings)
    train(before, halves, halves_anatomy, range(stop), run_of(6))
    state = {name: value.clone() for name, value in before.state().items()}
    after.load(state)
    train(after, halves, halves_anatomy, range(stop, 6), run_of(6, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halves.parameters(), strict=True))
    a, b = through.score(whole, whole_anatomy, [batch]), after.score(halves, halves_anatomy, [batch])
    assert np.array_equal(a.ffn, b.ffn)
    assert through.state().keys() == after.state().keys()
    assert all(torch.equal(value, after.state()[name]) for name, value in through.state().items())


def test_state_before_watch_is_what_was_loaded(make_model, make_batch):
    model, anatomy = make_model()
    method = snip(spectral_bound="absolute", reference="pretrained")
    penalty_of(method, model, anatomy, make_batch())
    fresh = snip(spectral_bound="absolute", reference="pretrained")
    fresh.load(method.state())
    assert fresh.state().keys() == method.state().keys()


@pytest.mark.parametrize("level", ["block", "head"])
def test_layers_that_run_again_for_the_backward_pass_are_not_caught(make_model, make_batch, level: str):
    """Their outputs would be held until the next step, and half of them would stand for the next penalty."""
    model, anatomy = make_model()
    method, batch = snip(level=level, spectral_bound="off"), make_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    layer = model.bert.encoder.layer[1]
    forward, runs = layer.forward, []
    layer.forward = lambda *args, **more: (
        runs.append(1),
        torch.utils.checkpoint.checkpoint(forward, *args, use_reentrant=False, **more),
    )[1]
    counted = layer.attention.output.dense.register_forward_hook(lambda *_: runs.append(2))
    model.train()
    with method.watch(model, anatomy, optimizer, run_of()):
        loss = model(**encoder_inputs(batch)).logits.sum() + method.penalty(batch)
        assert runs == [1, 2]
        loss.backward()
        assert runs == [1, 2, 2]
        assert not method._caught
        with pytest.raises(RuntimeError, match="training forward pass"):
            method.penalty(batch)
    counted.remove()


def what_is_added(model, layer, batch) -> tuple[torch.Tensor, torch.Tensor]:
    """What attention and the ffn of a pre-LayerNorm layer add to the stream: differences of what is there [B, T, d]."""
    stream = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: stream.append(args[0])),
        layer.norm2.register_forward_pre_hook(lambda _, args: stream.append(args[0])),
        layer.register_forward_hook(lambda _, args, output: stream.append(output)),
    ]
    with torch.no_grad():
        model(**encoder_inputs(batch))
    for hook in hooks:
        hook.remove()
    start, middle, end = stream
    return middle - start, end - middle


@pytest.mark.parametrize("norm", ["mean_abs", "rms"])
def test_layer_scale_is_part_of_a_branch(norm: str):
    """Images, and factors between block and addition (DINOv3): norms are those of what the stream gets."""
    model, anatomy = tiny_network("dinov3_vit")
    batch = tiny_batch("dinov3_vit")
    layers = encoder_layers(model, "dinov3_vit")
    with torch.no_grad():
        for number, layer in enumerate(layers):
            layer.layer_scale1.lambda1.copy_(torch.linspace(-0.5, 2, WIDTH) * (number + 1))
    added = [what_is_added(model, layer, batch) for layer in layers]
    scores = snip(norm=norm).score(model, anatomy, [batch])
    assert scores.attention == pytest.approx([plain_norm(a, norm).item() for a, _ in added], rel=1e-4)
    assert scores.ffn == pytest.approx([plain_norm(f, norm).item() for _, f in added], rel=1e-4)
    (penalty,) = penalty_of(snip(norm=norm), model, anatomy, batch)
    assert penalty.item() == pytest.approx(
        (scores.attention.sum() + scores.ffn.sum()) / (2 * LAYERS), rel=1e-5
    )
    if norm == "mean_abs":  # of heads a stand-in
        return
    by_head = snip(norm=norm, level="head").score(model, anatomy, [batch]).heads
    bias = (anatomy.layers[0].attention_output.bias * layers[0].layer_scale1.lambda1).detach()
    for head in range(HEADS):
        masks = anatomy.present
        masks.heads[0] = np.arange(HEADS) == head
        with masked(model, anatomy, masks):
            alone, _ = what_is_added(model, layers[0], batch)
        assert by_head[0, head] == pytest.approx(plain_norm(alone - bias, norm).item(), rel=1e-4)
