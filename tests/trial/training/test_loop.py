"""The training loop: schedules by hand, plain PyTorch as its double, and the ends that a phase can come to."""

import copy
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from torch import nn

from pipeline.methods.base import OneShot, Run
from pipeline.methods.registry import METHODS
from pipeline.model.anatomy import read_anatomy
from pipeline.task.batches import NO_LABEL, Split, encoder_inputs
from pipeline.task.kinds import Tokens
from pipeline.trial.conformance.networks import tiny_config
from pipeline.trial.training.dropout import cheap_dropout
from pipeline.trial.training.loop import CHECK_STEPS, AtChance, Loop, TrainingFailed
from pipeline.trial.training.loss_checks import CHANCE_LEAST_STEPS
from pipeline.trial.training.phases import Phase, schedule, steps_per_epoch
from pipeline.trial.training.recipe import Recipe, make_optimizer
from tests.kit.kinds import CLASSES, VALUES
from tests.kit.loop import Ears

RECIPE = Recipe(
    learning_rate=1e-2,
    batch_size=4,
    warmup_fraction=0.1,
    weight_decay=0.01,
    precision="fp32",
    kind=CLASSES,
)


def tune(steps: int, *, first: int = 0, seed: int = 0) -> Phase:
    return Phase("tune", 0, first, steps, seed)


def test_vectors_do_not_decay(make_model):
    model, _ = make_model()
    decayed, plain = make_optimizer(model, RECIPE).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.01, 0.0)
    assert all(p.ndim == 2 for p in decayed["params"])
    assert all(p.ndim == 1 for p in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("regression", [False, True])
def test_a_phase_is_plain_fine_tuning_with_adamw(make_model, make_split, regression: bool):
    outputs = 1 if regression else 3
    start, split = make_model(outputs=outputs), make_split(rows=10, regression=regression)
    model, anatomy = copy.deepcopy(start)
    recipe = Recipe(1e-2, 4, 0.1, 0.01, "fp32", VALUES if regression else CLASSES)
    ears = Ears()
    Loop(model, anatomy, split, tune(7, seed=3), recipe, ears).fit()

    double, _ = start
    double.train()
    torch.manual_seed(3)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in double.parameters() if p.ndim == 2]},
            {"params": [p for p in double.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=1e-2,
        weight_decay=0.01,
    )
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: schedule(step, steps=7, warmup_fraction=0.1)
    )
    losses = []
    for epoch in range(3):
        for rows in split.training_order(4, seed=3 + epoch):
            if len(losses) < 7:
                batch = split.collate(rows)
                with cheap_dropout(double):  # it draws other numbers than torch's
                    logits = double(**encoder_inputs(batch)).logits
                loss = (
                    nn.functional.mse_loss(logits[:, 0], batch["labels"])
                    if regression
                    else nn.functional.cross_entropy(logits, batch["labels"])
                )
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(double.parameters(), 1.0)
                optimizer.step()
                rate.step()
                losses.append(loss.item())
    plain = dict(double.named_parameters())
    for name, ours in model.named_parameters():
        if not name.endswith("key.bias"):  # no gradient but rounding, which Adam divides by its own size
            torch.testing.assert_close(ours, plain[name], rtol=1e-3, atol=1e-4)
    assert [epoch for epoch, _ in ears.epochs] == pytest.approx([1, 2, 7 / 3])
    means = [np.mean(losses[a:b]) for a, b in ((0, 3), (3, 6), (6, 7))]
    assert [values["train_loss"] for _, values in ears.epochs] == pytest.approx(means, rel=1e-3)
    assert not model.training


@pytest.mark.parametrize("stop", [1, 3, 5, 8])
@pytest.mark.parametrize("name", ["plain", "snip"])
def test_stopped_and_continued_is_bit_equal(make_model, make_split, name: str, stop: int):
    start, split = make_model(), make_split(rows=10)

    def loop(model, anatomy, ears: Ears) -> Loop:
        method, run = None, None
        if name == "snip":
            method = METHODS["snip"](
                1.0,
                "log",
                0.1,
                "rms",
                "pretrained",
                "uniform",
                1.0,
                "head",
                "relative",
                2.0,
                0.5,
                "branch",
                0.5,
            )
            run = Run(8, 10, None, torch.Generator().manual_seed(1))
        return Loop(model, anatomy, split, tune(8, first=2, seed=5), RECIPE, ears, method, run)

    whole, anatomy = copy.deepcopy(start)
    through = Ears(at=(stop,))
    loop(whole, anatomy, through).fit()
    halves, anatomy = copy.deepcopy(start)  # as a trial makes it again, before the state is loaded
    after = Ears()
    loop(halves, anatomy, after).fit(through.states[stop])
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halves.parameters(), strict=True))
    assert after.epochs == [row for row in through.epochs if row[0] * 3 > 2 + stop]
    assert after.steps == 8 - stop


@pytest.mark.parametrize("parts", [2, 3, 9])
def test_a_batch_in_parts_makes_the_same_step(make_model, make_split, parts: int):
    start, split = make_model(), make_split(rows=10)
    for module in start[0].modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    start[0].config.attention_probs_dropout_prob = 0.0
    for layer in start[0].bert.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    found, losses = [], []
    for recipe in (RECIPE, replace(RECIPE, parts=parts)):
        model, anatomy = copy.deepcopy(start)
        ears = Ears()
        Loop(model, anatomy, split, tune(4), recipe, ears).fit()
        # the bias of keys has no gradient but rounding, of which Adam makes steps
        found.append([p for name, p in model.named_parameters() if "key.bias" not in name])
        losses.append([values["train_loss"] for _, values in ears.epochs])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-4)


def test_a_phase_without_steps_changes_nothing(make_model, make_split):
    model, anatomy = make_model()
    before = copy.deepcopy(model.state_dict())
    ears = Ears()
    Loop(model, anatomy, make_split(), tune(0), RECIPE, ears).fit()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert ears.epochs == []


def test_the_penalty_is_added_to_the_loss_and_reported(make_model, make_split):
    model, anatomy = make_model()
    target = nn.Parameter(torch.tensor(2.0))

    class Pull(OneShot):
        def penalty(self, batch):
            return (model.classifier.bias**2).sum() + 4.0

        def score(self, model, anatomy, batches):
            raise NotImplementedError

        def report(self):
            return {"answer": 42.0}

    with torch.no_grad():
        model.classifier.bias.fill_(target.item())
    free, free_anatomy = copy.deepcopy((model, anatomy))
    ears, split = Ears(), make_split(rows=8)
    recipe = Recipe(3e-2, 4, 0.0, 0.0, "fp32", kind=CLASSES)
    run = Run(20, 8, None, torch.Generator())
    Loop(model, anatomy, split, tune(20), recipe, ears, Pull(), run).fit()
    Loop(free, free_anatomy, split, tune(20), recipe, Ears()).fit()
    assert model.classifier.bias.norm() < 0.95 * free.classifier.bias.norm()
    penalties = [values["penalty"] for _, values in ears.epochs]
    assert penalties[0] < 4 + 3 * 2.0**2 + 1
    assert penalties == sorted(penalties, reverse=True)
    assert penalties[-1] > 4
    assert ears.epochs[-1][1]["answer"] == 42.0


def test_a_method_may_bring_parameters_of_its_own_into_the_schedule(make_model, make_split):
    model, anatomy = make_model()
    gate = nn.Parameter(torch.zeros(()))
    rates = []

    class Gated(OneShot):
        def watch(self, model, anatomy, optimizer, run):
            optimizer.add_param_group({"params": [gate], "lr": 0.5})
            optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[-1]["lr"]))
            return super().watch(model, anatomy, optimizer, run)

        def penalty(self, batch):
            return (gate - 1) ** 2

        def score(self, model, anatomy, batches):
            raise NotImplementedError

    recipe = Recipe(1e-3, 4, 0.0, 0.0, "fp32", kind=CLASSES)
    Loop(
        model, anatomy, make_split(), tune(4), recipe, Ears(), Gated(), Run(4, 12, None, torch.Generator())
    ).fit()
    assert rates == pytest.approx([0.5, 0.375, 0.25, 0.125])
    assert gate.item() > 0.5


@pytest.mark.parametrize("steps", [3, CHECK_STEPS + 20])
def test_a_loss_that_is_no_number_ends_the_phase(make_model, make_split, steps: int):
    model, anatomy = make_model()
    with torch.no_grad():
        model.classifier.weight[0, 0] = float("nan")
    ears = Ears()
    with pytest.raises(TrainingFailed, match="not a number"):
        Loop(model, anatomy, make_split(rows=400), tune(steps), RECIPE, ears).fit()
    assert ears.steps < min(steps, CHECK_STEPS)
    assert ears.epochs == []


def test_a_gradient_that_is_no_number_in_the_last_step_is_noticed(make_model, make_split):
    model, anatomy = make_model()

    class Steep(OneShot):
        def penalty(self, batch):
            return (model.classifier.bias * 0).sum().abs().sqrt()  # 0 with an infinite slope

        def score(self, model, anatomy, batches):
            raise NotImplementedError

    with pytest.raises(TrainingFailed, match="not a number"):
        Loop(
            model,
            anatomy,
            make_split(),
            tune(1),
            RECIPE,
            Ears(),
            Steep(),
            Run(1, 12, None, torch.Generator()),
        ).fit()


def test_small_values_to_predict_are_no_divergence(make_model, make_split):
    """Values of a thousandth have a mean square of 1e-6; what a new head gives for them is far above ten times that."""
    model, anatomy = make_model(outputs=1)
    with torch.no_grad():
        model.classifier.weight.mul_(0.05)  # the tiny networks' heads are large
        model.classifier.bias.zero_()
    split = make_split(outputs=1, regression=True)
    values = pa.array(np.full(len(split), 1e-3, np.float32))
    split = replace(
        split, table=split.table.set_column(split.table.column_names.index("label"), "label", values)
    )
    recipe = replace(RECIPE, kind=VALUES, learning_rate=1e-5)
    loop = Loop(model, anatomy, split, tune(3), recipe, Ears())
    loop.fit()
    assert 100 * 1e-6 < loop.recent_loss < 1


def test_a_loss_that_explodes_ends_the_phase(make_model, make_split):
    model, anatomy = make_model()
    with torch.no_grad():
        model.classifier.weight.mul_(300)
    recipe = Recipe(1e-6, 4, 0.0, 0.0, "fp32", kind=CLASSES)
    with pytest.raises(TrainingFailed, match=r"diverged: .* an untrained network has 1\.1"):
        Loop(model, anatomy, make_split(), tune(3), recipe, Ears()).fit()


def test_labels_far_from_zero_are_no_divergence(make_model, make_split):
    model, anatomy = make_model(outputs=1)
    split = make_split(regression=True)
    far = split.table.set_column(
        split.table.column_names.index("label"), "label", pa.array(split.labels + 100, pa.float32())
    )
    Loop(
        model, anatomy, Split(far, split.pad_token_id), tune(3), Recipe(1e-3, 4, 0, 0, "fp32", VALUES), Ears()
    ).fit()


def recover(steps: int) -> Phase:
    return Phase("recover", 0, 0, steps, seed=0)


def test_recovery_at_chance_ends_early(make_model, make_split):
    model, anatomy = make_model()
    split = make_split(rows=16)
    recipe = Recipe(1e-9, 4, 0.0, 0.0, "fp32", kind=CLASSES)
    ears = Ears()
    with pytest.raises(AtChance, match=rf"after {CHANCE_LEAST_STEPS} steps .* a constant prediction has"):
        Loop(model, anatomy, split, recover(CHANCE_LEAST_STEPS + 1), recipe, ears).fit()
    assert ears.steps == CHANCE_LEAST_STEPS - 1


def test_only_recovery_with_steps_left_ends_early(make_model, make_split):
    model, anatomy = make_model()
    split = make_split(rows=16)
    recipe = Recipe(1e-9, 4, 0.0, 0.0, "fp32", kind=CLASSES)
    for phase in (recover(CHANCE_LEAST_STEPS), tune(CHANCE_LEAST_STEPS + 1)):
        ears = Ears()
        Loop(model, anatomy, split, phase, recipe, ears).fit()
        assert ears.steps == phase.steps


def test_chance_is_read_over_the_later_half_of_its_part(make_model, make_split):
    """A network that has learned by then goes on, however bad its first steps were."""
    model, anatomy = make_model()
    with torch.no_grad():
        model.classifier.weight.mul_(12)
    split = make_split(rows=8)  # so few that they are learned by heart
    ears = Ears()
    recipe = Recipe(3e-3, 4, 0.0, 0.0, "fp32", kind=CLASSES)
    Loop(model, anatomy, split, recover(CHANCE_LEAST_STEPS + 20), recipe, ears).fit()
    losses = [values["train_loss"] for _, values in ears.epochs]  # two steps each
    assert np.mean(losses[: CHANCE_LEAST_STEPS // 2]) > CLASSES.constant_loss(split)
    assert losses[-1] < 0.5


def test_bf16_trains_nearly_alike(make_model, make_split):
    start, split = make_model(), make_split(rows=40)
    losses = []
    for precision in ("fp32", "bf16"):
        model, anatomy = copy.deepcopy(start)
        model.config.hidden_dropout_prob = 0.0
        ears = Ears()
        Loop(model, anatomy, split, tune(20), Recipe(1e-3, 8, 0.1, 0.0, precision, CLASSES), ears).fit()
        losses.append([values["train_loss"] for _, values in ears.epochs])
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert math.isfinite(sum(losses[1]))


def test_the_state_is_what_torch_reads_back_without_running_code(make_model, make_split, tmp_path):
    model, anatomy = make_model()
    ears = Ears(at=(2,))
    Loop(model, anatomy, make_split(), tune(3), RECIPE, ears).fit()
    torch.save(ears.states[2].tensors, tmp_path / "state.pt")
    read = torch.load(tmp_path / "state.pt", weights_only=True)
    assert read.keys() == ears.states[2].tensors.keys()


def test_batches_that_were_seen_are_not_seen_again(make_split, make_model, monkeypatch):
    """Phases are stretches of one stream: an epoch may begin in one phase and end in the next."""
    split, seen = make_split(rows=10), []
    collate = Split.collate
    monkeypatch.setattr(
        Split, "collate", lambda self, rows: (seen.extend(rows.tolist()), collate(self, rows))[1]
    )
    model, anatomy = make_model()
    for phase in (tune(2), tune(1, first=2)):
        Loop(model, anatomy, split, phase, RECIPE, Ears()).fit()
    assert sorted(seen) == list(range(10))
    assert steps_per_epoch(10, 4) == 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert", "electra"])
def test_activation_checkpointing_gives_the_same_network(
    make_model, make_split, model_type: str, precision: str
):
    start, split = make_model(model_type), make_split(model_type)
    recipe, found = replace(RECIPE, precision=precision), []
    for checkpointing in (False, True):
        model, anatomy = copy.deepcopy(start)
        Loop(model, anatomy, split, tune(3), replace(recipe, checkpointing=checkpointing), Ears()).fit()
        found.append(list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_batch_without_a_tagged_word_may_be_in_parts():
    """What its parts weigh is the share of its words, of which it has none: the loss is 0."""
    model = transformers.BertForTokenClassification(tiny_config("bert"))
    tokens = pa.array([[5, 6, 7], [8, 9, 10, 11]], pa.list_(pa.int32()))
    none = pa.array([[NO_LABEL] * 3, [NO_LABEL] * 4], pa.list_(pa.int64()))
    rows = Split(pa.table({"id": ["0", "1"], "input_ids": tokens, "label": none}), pad_token_id=0)
    recipe, ears = replace(RECIPE, kind=Tokens("entity_f1", ("O", "B-A", "I-A")), parts=2), Ears()
    Loop(model, read_anatomy(model), rows, tune(2), recipe, ears).fit()
    assert [values["train_loss"] for _, values in ears.epochs] == [0.0, 0.0]
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())
