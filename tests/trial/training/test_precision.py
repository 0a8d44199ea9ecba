"""Precisions by hardware; fp16's scaled loss against fp32, and the steps that it skips."""

import copy
import math
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from pipeline.methods.base import Run
from pipeline.methods.registry import METHODS
from pipeline.methods.snip.norms import head_power_sums, masked_power_sum
from pipeline.study.records import BadInput
from pipeline.study.space import load_space
from pipeline.trial.training import precision as rooms
from pipeline.trial.training.loop import Loop, LoopState, TrainingFailed
from pipeline.trial.training.phases import Phase
from pipeline.trial.training.precision import (
    Hardware,
    LossScale,
    autocast,
    check_precision,
    choose_precision,
    gpu_kernels,
    resolve_precision,
)
from pipeline.trial.training.recipe import Recipe
from tests.kit.kinds import CLASSES

CPU = torch.device("cpu")
HOPPER = Hardware("H100", "cuda", bf16=True, fp16=True, tf32=True)
VOLTA = Hardware("V100", "cuda", bf16=False, fp16=True, tf32=False)
ZEN = Hardware("this CPU", "cpu", bf16=True, fp16=False, tf32=False)
OLD = Hardware("this CPU", "cpu", bf16=False, fp16=False, tf32=False)
RECIPE = Recipe(1e-3, 4, 0.1, 0.1, "fp16", kind=CLASSES)


@pytest.mark.parametrize(
    ("hardware", "chosen"),
    [
        (HOPPER, {"auto": "bf16", "bf16": "bf16", "fp16": "fp16", "tf32": "tf32", "fp32": "fp32"}),
        (VOLTA, {"auto": "fp16", "bf16": "fp32", "fp16": "fp16", "tf32": "fp32", "fp32": "fp32"}),
        (ZEN, {"auto": "bf16", "bf16": "bf16", "fp16": "fp32", "tf32": "fp32", "fp32": "fp32"}),
        (OLD, {"auto": "fp32", "bf16": "bf16", "fp16": "fp32", "tf32": "fp32", "fp32": "fp32"}),
    ],
)
def test_precision_is_what_the_hardware_multiplies(hardware: Hardware, chosen: dict[str, str]):
    assert {wanted: choose_precision(wanted, hardware) for wanted in chosen} == chosen


@pytest.mark.parametrize("hardware", [HOPPER, VOLTA, ZEN, OLD, None])
def test_what_a_search_cannot_have_is_refused_with_what_there_is(hardware: Hardware | None):
    for wanted in rooms.PRECISIONS:
        if hardware is None or wanted in ("auto", "fp32") or hardware.has(wanted):
            check_precision(wanted, hardware)
        else:
            with pytest.raises(BadInput, match=rf"{hardware.name} does not .*it has .*fp32\. .*auto is"):
                check_precision(wanted, hardware)
    with pytest.raises(BadInput, match="bf16, fp16, tf32, fp32"):
        check_precision("int8", hardware)


def test_of_this_machine():
    native = torch.cpu.get_capabilities()
    expected = "bf16" if native.get("avx512_bf16") or native.get("amx_bf16") else "fp32"
    assert resolve_precision("auto", CPU) == expected
    assert (resolve_precision("bf16", CPU), resolve_precision("fp32", CPU)) == ("bf16", "fp32")


def test_products_are_tf32_on_a_gpu_alone_and_only_within():
    def inside(device: str, precision: str) -> str:
        with gpu_kernels(torch.device(device), precision):
            return torch.get_float32_matmul_precision()

    found = {each: inside("cuda", each) for each in ("fp32", "tf32", "bf16", "fp16")}
    assert found == {"fp32": "highest", "tf32": "high", "bf16": "high", "fp16": "high"}
    assert inside("cpu", "tf32") == "highest"
    assert torch.get_float32_matmul_precision() == "highest"


def test_cudnns_attention_is_off_on_a_gpu_alone_and_only_within():
    def inside(device: str) -> bool:
        with gpu_kernels(torch.device(device), "bf16"):
            return torch.backends.cuda.cudnn_sdp_enabled()

    assert (inside("cuda"), inside("cpu"), torch.backends.cuda.cudnn_sdp_enabled()) == (False, True, True)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_autocast(precision: str, dtype: torch.dtype):
    with autocast(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@dataclass
class Ears:
    """Remembers epochs; takes states down after some steps."""

    at: tuple[int, ...] = ()
    epochs: list[dict[str, float]] = field(default_factory=list)
    states: dict[int, LoopState] = field(default_factory=dict)
    steps: int = 0

    def on_epoch(self, epoch: float, values: dict[str, float]) -> None:
        self.epochs.append(values)

    def on_step(self, state) -> None:
        self.steps += 1
        if self.steps in self.at:
            self.states[self.steps] = copy.deepcopy(state())


def method(name: str):
    space = load_space(name, file=None, pretrained=True)
    _, own = space.split(space.defaults())
    return METHODS[name](**{key: own[key] for key in own if key in METHODS[name].__dataclass_fields__})


def run(steps: int) -> Run:
    return Run(steps, 12, 0.5, torch.Generator().manual_seed(0), threshold=0.1)


def fit(start, split, recipe: Recipe, *, steps: int = 12, name: str | None = None, ears=None, state=None):
    model, anatomy = copy.deepcopy(start)
    ears = ears or Ears()
    its = None if name is None else method(name)
    Loop(
        model, anatomy, split, Phase("tune", 0, 0, steps, 0), recipe, ears, its, run(steps) if its else None
    ).fit(state)
    return model, ears, its


@pytest.mark.parametrize("name", [None, "snip", "l0", "mgpp", "platon", "movement"])
def test_fp16_trains_nearly_as_fp32(make_model, make_split, name: str | None):
    start, split = make_model(), make_split(rows=24)
    start[0].config.hidden_dropout_prob = 0.0
    _, half, _ = fit(start, split, RECIPE, name=name)
    _, full, _ = fit(start, split, replace(RECIPE, precision="fp32"), name=name)
    for column in full.epochs[0].keys() & {"train_loss", "penalty"}:
        ours, theirs = ([each[column] for each in ears.epochs] for ears in (half, full))
        assert ours == pytest.approx(theirs, rel=0.05, abs=1e-4), column


@pytest.fixture
def overflowing(monkeypatch):
    """At the steps that are named, the scaled loss is infinite, and with it the gradients."""

    def make(*steps: int) -> None:
        counter = iter(range(10_000))
        scaled = LossScale.scaled
        monkeypatch.setattr(
            LossScale,
            "scaled",
            lambda self, loss: scaled(self, loss) * (math.inf if next(counter) in steps else 1.0),
        )

    return make


def test_a_skipped_step_moves_nothing_and_counts_everywhere(make_model, make_split, overflowing):
    """Weights stay as after the step before; learning rates, unseen words and the method's steps go on."""
    start, split = make_model(), make_split(rows=8)
    overflowing(2)
    ears = Ears(at=(2, 3, 4))
    _, _, its = fit(start, split, RECIPE, steps=4, name="platon", ears=ears)
    two, three, four = (ears.states[step].tensors for step in (2, 3, 4))
    for name, value in three["model"].items():
        kept = value != 0  # the method's own schedule sets weights to zero at such a step, too
        assert torch.equal(value[kept], two["model"][name][kept]), name
    assert any(not torch.equal(value, four["model"][name]) for name, value in three["model"].items())
    moments = [each["optimizer"]["state"][0]["step"].item() for each in (two, three, four)]
    assert moments == [2, 2, 3], "AdamW's bias correction knows the steps that were made"
    assert [int(each["method"]["steps"]) for each in (two, three, four)] == [2, 3, 4]
    assert all(torch.isfinite(value).all() for value in its.state().values())
    assert three["scaling"]["scale"] == two["scaling"]["scale"] / 2
    rates = [each["optimizer"]["param_groups"][0]["lr"] for each in (two, three, four)]
    assert rates == pytest.approx([1e-3, 1e-3 * 2 / 3, 1e-3 / 3]), "after a warm-up of one step"
    assert three["decay"] == two["decay"], "what is not looked up decays as the rest does"
    assert four["decay"] == pytest.approx(three["decay"].item() * (1 - rates[2] * 0.1))


def test_gradients_are_clipped_without_their_scale(make_model, make_split):
    """The norm that is clipped is that of fp32: a scaled one would be 65,536 times as large."""
    start, split = make_model(), make_split(rows=8)
    norms = []
    for precision in ("fp16", "fp32"):
        ears = Ears(at=(1,))
        fit(start, split, replace(RECIPE, precision=precision), steps=1, ears=ears)
        norms.append(float(ears.states[1].tensors["sums"][1, 2]))
        first = ears.states[1].tensors["optimizer"]["state"]
        moments = torch.cat([each["exp_avg"].flatten() for each in first.values()])
        assert moments.norm() <= 0.1 * 1.01, "(1 - beta1) times a gradient whose norm is clipped to 1"
    assert norms[0] == pytest.approx(norms[1], rel=0.02)


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_stopped_and_continued_in_fp16_is_bit_equal(make_model, make_split, overflowing, stop: int):
    start, split = make_model(), make_split(rows=8)
    overflowing(1)
    ears = Ears(at=(stop,))
    whole, _, _ = fit(start, split, RECIPE, steps=6, name="snip", ears=ears)
    if stop < 2:
        overflowing(1 - stop)
    else:
        overflowing()
    again, _, _ = fit(start, split, RECIPE, steps=6, name="snip", state=ears.states[stop])
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_gradients_that_overflow_at_any_scale_end_a_trial(make_model, make_split, overflowing):
    overflowing(*range(60))
    with pytest.raises(TrainingFailed, match="fp16 at any scale"):
        fit(make_model(), make_split(rows=300), RECIPE, steps=60)


def test_norms_of_fp16_do_not_overflow():
    """Sums over tokens that fp16 cannot hold: 4,096 tokens of size 8."""
    generator = torch.Generator().manual_seed(0)
    context = 8 * torch.randn(32, 128, 8, generator=generator)
    weight = torch.randn(8, 8, generator=generator)
    mask = torch.ones(32, 128)
    for power in (1, 2):
        exact = head_power_sums(context, weight, mask, head_size=4, power=power)
        half = context.half().requires_grad_()
        found = head_power_sums(half, weight, mask, head_size=4, power=power)
        torch.testing.assert_close(found, exact, rtol=5e-3, atol=0)
        assert torch.isfinite(torch.autograd.grad(found.sum() * 1e-3, half)[0]).all()
        torch.testing.assert_close(
            masked_power_sum(context.half(), mask, power=power),
            masked_power_sum(context, mask, power=power),
            rtol=5e-3,
            atol=0,
        )


def test_in_other_precisions_nothing_is_scaled():
    scaling = LossScale(CPU, "bf16")
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, fused=True)
    loss = parameter.sum()
    assert scaling.scaled(loss) is loss
    loss.backward()
    assert scaling.unscale(optimizer) is None
    scaling.step(optimizer)
    assert not scaling.lost()
    assert parameter[0] < 1
