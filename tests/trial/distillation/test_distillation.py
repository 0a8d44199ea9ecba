"""Distillation in the training loop: against plain PyTorch with a live teacher, brute force, and batches in parts."""

import copy
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.model.surgery import cut
from pipeline.study.space import load_space
from pipeline.task.batches import NO_LABEL, batch_parts, encoder_inputs
from pipeline.task.kinds import Tokens
from pipeline.trial.curve.allocation import Step
from pipeline.trial.curve.chain import Chain
from pipeline.trial.distillation import DISTILLATIONS, NONE, DistillationInputs, Teacher
from pipeline.trial.training.dropout import cheap_dropout
from pipeline.trial.training.loop import Loop
from pipeline.trial.training.phases import Phase, schedule
from pipeline.trial.training.recipe import Recipe, make_optimizer
from tests.kit.distillation import CAP, KD, lessons, make, teacher_of
from tests.kit.kinds import CLASSES, VALUES
from tests.kit.loop import Ears

RECIPE = Recipe(1e-2, 4, 0.1, 0.01, "fp32", kind=CLASSES)


def without_dropout(model) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


@pytest.mark.parametrize("name", sorted(DISTILLATIONS))
@pytest.mark.parametrize("pretrained", [True, False])
def test_fields_are_the_keys_of_the_file(name: str, pretrained: bool):
    plain = load_space("snip", file=None, pretrained=pretrained)
    space = load_space("snip", file=None, pretrained=pretrained, distill=name)
    added = space.keys.keys() - plain.keys.keys()
    assert added == {field.name for field in fields(DISTILLATIONS[name]) if field.init}
    assert plain.keys.items() <= space.keys.items()
    assert all(space.keys[key].fixed for key in added)
    assert space.split(space.defaults())[1] == plain.split(plain.defaults())[1]
    if name == "cap":
        assert space.may_have("cap_pretrained", True) is pretrained


def test_a_file_may_search_them(tmp_path):
    (tmp_path / "s.toml").write_text(
        "[kd_weight]\nlow = 0.0\nhigh = 0.9\ndefault = 0.5\n[cap_snapshots]\nchoices = [true, false]\ndefault = true\n"
    )
    space = load_space("layerdrop", file=tmp_path / "s.toml", pretrained=True, distill="cap")
    assert {"kd_weight", "cap_snapshots"} <= space.distributions().keys()
    assert space.defaults()["kd_weight"] == 0.5


@pytest.mark.parametrize("regression", [False, True])
def test_kd_is_plain_training_with_a_live_teacher(make_model, make_split, regression: bool):
    outputs = 1 if regression else 3
    start, split = make_model(outputs=outputs), make_split(rows=10, regression=regression)
    dense, _ = make_model(outputs=outputs, seed=7)
    recipe = replace(RECIPE, kind=VALUES if regression else CLASSES)
    kd = make("kd")
    kd.bind(lessons(teacher_of(dense, dense, split), split, regression=regression))
    model, anatomy = copy.deepcopy(start)
    ears = Ears()
    Loop(model, anatomy, split, Phase("tune", 0, 0, 5, 3), recipe, ears, distillation=kd).fit()

    double, _ = start
    double.train()
    torch.manual_seed(3)
    optimizer = make_optimizer(double, recipe)
    learned = []
    order = [rows for epoch in (3, 4) for rows in split.training_order(4, seed=epoch)][:5]
    for step, rows in enumerate(order):
        batch = split.collate(rows)
        with cheap_dropout(double):  # it draws other numbers than torch's
            logits = double(**encoder_inputs(batch)).logits
        with torch.no_grad():
            teacher = dense(**encoder_inputs(batch)).logits
        if regression:
            task = nn.functional.mse_loss(logits[:, 0], batch["labels"])
            taught = ((logits - teacher) ** 2).mean()
        else:
            task = nn.functional.cross_entropy(logits, batch["labels"])
            log_ratio = (teacher / 2).log_softmax(-1) - (logits / 2).log_softmax(-1)
            taught = 4 * ((teacher / 2).softmax(-1) * log_ratio).sum(-1).mean()
        loss = 0.3 * task + 0.7 * taught
        loss.backward()
        nn.utils.clip_grad_norm_(double.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * schedule(step, steps=5, warmup_fraction=0.1)
        optimizer.step()
        optimizer.zero_grad()
        learned.append(loss.item())
    plain = dict(double.named_parameters())
    for name, ours in model.named_parameters():
        if not name.endswith("key.bias"):  # no gradient but rounding, which Adam divides by its own size
            torch.testing.assert_close(ours, plain[name], rtol=1e-3, atol=1e-4)
    found = [values["distill_loss"] for _, values in ears.epochs]
    assert found == pytest.approx([np.mean(learned[:3]), np.mean(learned[3:])], rel=1e-3)


def by_brute_force(features, rows, labels, banks, numbers, teacher_loss) -> float:
    """Row by row, key by key; `banks` are lists of networks' features, `numbers` the rows that are compared with."""
    total = teacher_loss
    for bank in banks:
        for weight, positive in (
            (0.3, lambda row, number: row == number),
            (0.4, lambda row, number: labels[row] == labels[number]),
        ):
            found = []
            for mine, row in zip(features, rows, strict=True):
                keys = [
                    (number, network[number].astype(np.float64))
                    for network in bank
                    for number in numbers(bank)
                ]
                scores = [math.exp(float(mine @ key) / 0.2) for _, key in keys]
                terms = [
                    -math.log(score / sum(scores))
                    for score, (number, _) in zip(scores, keys, strict=True)
                    if positive(row, number)
                ]
                found.append(sum(terms) / len(terms))
            total += weight * sum(found) / len(found)
    return total


@pytest.mark.parametrize("negatives", [4096, 6])
def test_cap_is_its_definition(make_model, make_split, negatives: int):
    """Three banks, one of two snapshots; all rows are compared with, or the batch's and six others."""
    (model, anatomy), split = make_model(), make_split(rows=20)
    dense, pretrained, one, other = (make_model(seed=seed)[0] for seed in (7, 8, 9, 10))
    teacher = teacher_of(dense, pretrained, split)
    snapshots = [teacher_of(each, each, split).finetuned for each in (one, other)]
    cap = make("cap", cap_negatives=negatives)
    cap.bind(lessons(teacher, split))
    for snapshot in snapshots:
        cap.remember(snapshot)
    rows = np.array([4, 11, 2])
    batch = split.collate(rows)
    cap.begin(batch["rows"], 5)
    task_loss = torch.tensor(0.25)
    with cap.watch(model, anatomy):
        output = model(**encoder_inputs(batch))
        found = cap.loss(task_loss, output.logits, batch).item()
    kd = make("kd")
    kd.bind(lessons(teacher, split))
    with torch.no_grad():
        features = model.base_model(**encoder_inputs(batch)).last_hidden_state[:, 0].double().numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)

    def numbers(bank) -> list[int]:
        if negatives == 4096:
            return list(range(20))
        drawn = torch.randint(
            20, (6,), generator=torch.Generator().manual_seed(3 * 1_000_000_007 + 5)
        ).tolist()
        return [*rows.tolist(), *drawn[: 6 // len(bank)]]

    expected = by_brute_force(
        features,
        rows,
        split.labels,
        [[teacher.pretrained], [teacher.finetuned], snapshots],
        numbers,
        kd.loss(task_loss, output.logits, batch).item(),
    )
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("cut_first", [False, True])
def test_states_of_the_layers_that_are_left_are_those_of_their_places(
    make_model, make_split, cut_first: bool
):
    (model, anatomy), split = make_model(), make_split(rows=10)
    dense, its = make_model(seed=7)
    teaching, kd = make("layers"), make("kd")
    lesson = lessons(teacher_of(dense, dense, split), split)
    for each in (teaching, kd):
        each.bind(lesson)
    rows = np.array([4, 1, 7, 2])
    batch = split.collate(rows)
    with torch.no_grad():
        above = dense(**encoder_inputs(batch), output_hidden_states=True).hidden_states[1:]
    left = [0, 1, 2]
    if cut_first:
        masks = anatomy.present
        masks.layers[1] = masks.heads[1] = masks.neurons[1] = masks.heads[0] = False
        anatomy, left = cut(model, anatomy, masks), [0, 2]
    task_loss = torch.tensor(0.25)
    with teaching.watch(model, anatomy):
        output = model(**encoder_inputs(batch), output_hidden_states=True)
        found = teaching.loss(task_loss, output.logits, batch).item()
    distances = []
    for place, layer in enumerate(left):
        for row in range(len(rows)):
            real = batch["attention_mask"][row].bool()
            own, taught = (
                nn.functional.normalize(states[row, real].mean(0), dim=0)
                for states in (output.hidden_states[1 + place], above[layer])
            )
            distances.append(float((own - taught).detach().square().sum()))
    expected = kd.loss(task_loss, output.logits, batch).item() + 0.5 * np.mean(distances)
    assert found == pytest.approx(expected, rel=1e-3)
    assert len(its.layers) == 3


def test_networks_of_a_chain_learn_from_their_layers(make_model, make_split):
    """Each pass has the states of its own network; nothing is left of the one before."""
    (model, anatomy), split = make_model(), make_split(rows=12)
    teaching = make("layers")
    teaching.bind(lessons(teacher_of(make_model(seed=7)[0], make_model(seed=8)[0], split), split))
    masks = [anatomy.present for _ in range(2)]
    masks[1].layers[2] = masks[1].heads[2] = masks[1].neurons[2] = False
    steps = tuple(Step(each, 0.0, 0.3 * place, place) for place, each in enumerate(masks))
    chain = Chain(steps, (0, 1), {}, "one", 3)
    before = copy.deepcopy(model.state_dict())
    ears = Ears()
    Loop(
        model, anatomy, split, Phase("recover", 0, 0, 6, 3), RECIPE, ears, distillation=teaching, chain=chain
    ).fit()
    assert all(math.isfinite(values["distill_loss"]) for _, values in ears.epochs)
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_regression_has_no_contrast_of_classes(make_model, make_split):
    (model, anatomy), split = make_model(outputs=1), make_split(rows=8, regression=True)
    teacher = teacher_of(model, model, split)
    found = []
    for weight in (0.0, 5.0):
        cap = make("cap", cap_same_class=weight)
        cap.bind(lessons(teacher, split, regression=True))
        batch = split.collate(np.arange(4))
        cap.begin(batch["rows"], 0)
        with cap.watch(model, anatomy):
            found.append(cap.loss(torch.tensor(1.0), model(**encoder_inputs(batch)).logits, batch).item())
    assert found[0] == found[1] > 0.3


@pytest.mark.parametrize(
    ("name", "changes"), [("kd", {}), ("cap", {}), ("cap", {"cap_negatives": 3}), ("layers", {})]
)
def test_a_batch_in_parts_has_the_gradient_of_the_whole(make_model, make_split, name: str, changes):
    (model, anatomy), split = make_model(), make_split(rows=12)
    teaching = make(name, **changes)
    teaching.bind(lessons(teacher_of(make_model(seed=7)[0], make_model(seed=8)[0], split), split))
    batch = split.collate(np.arange(7))
    gradients = []
    with teaching.watch(model, anatomy):
        for parts in (1, 3):
            model.zero_grad()
            teaching.begin(batch["rows"], 2)
            for part in batch_parts(batch, parts):
                logits = model(**encoder_inputs(part)).logits
                task = nn.functional.cross_entropy(logits, part["labels"])
                (teaching.loss(task, logits, part) * len(part["labels"]) / 7).backward()
            gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_what_is_drawn_depends_on_the_place_alone(make_model, make_split):
    split = make_split(rows=30)
    teacher = teacher_of(make_model(seed=7)[0], make_model(seed=8)[0], split)
    found = []
    for seed, positions in ((3, (0, 1, 2)), (3, (2,)), (4, (2,))):
        cap = make("cap", cap_negatives=10)
        cap.bind(lessons(teacher, split, seed=seed))
        for position in positions:
            cap.begin(torch.tensor([5, 6]), position)
        found.append(cap._compared.tolist())
    assert found[0] == found[1] != found[2]
    assert found[0][:2] == [5, 6]


def test_banks_pull_representations_towards_them(make_model, make_split):
    """Trained with CAP a network's row is nearer to the same row of the dense network, against all other rows."""
    split = make_split(rows=16)
    dense, _ = make_model(seed=7)
    teacher = teacher_of(dense, dense, split)
    nearness = []
    for name in ("kd", "cap"):
        model, anatomy = make_model()
        without_dropout(model)
        teaching = make(name)
        teaching.bind(lessons(teacher, split))
        Loop(model, anatomy, split, Phase("tune", 0, 0, 24, 0), RECIPE, Ears(), distillation=teaching).fit()
        mine = teacher_of(model, model, split).finetuned.astype(np.float32)
        between = mine @ teacher.finetuned.T.astype(np.float32)
        nearness.append(float(np.diag(between).mean() - between.mean()))
    assert nearness[1] > nearness[0] + 0.02


def test_misuse_is_an_error(make_model, make_split):
    split = make_split(rows=8)
    teacher = Teacher(np.zeros((8, 3), np.float32))
    with pytest.raises(ValueError, match="bank"):
        make("cap").bind(lessons(teacher, split))
    with pytest.raises(RuntimeError, match="bound to its inputs"):
        make("kd").loss(torch.tensor(1.0), torch.zeros(2, 3), {"rows": torch.arange(0)})
    with pytest.raises(ValueError, match="no snapshots"):
        make("kd").remember(teacher.logits)
    assert NONE not in DISTILLATIONS
    assert KD.items() <= CAP.items()


@pytest.mark.parametrize("length", [4, 16])
def test_a_teachers_words_meet_batches_of_any_length(length: int):
    """Batches for a GPU have lengths of 16, 32 …; the teacher's outputs end with the longest row, of five tokens here.

    By hand: rows of three and five tokens, the first two of each are words: KL is the mean of those four.
    """
    generator = torch.Generator().manual_seed(0)
    taught, outputs = (
        torch.randn(2, 5, 3, generator=generator),
        torch.randn(2, length, 3, generator=generator),
    )
    kd, kind = make("kd", kd_weight=1.0), Tokens("entity_f1", ("O", "B-A", "I-A"))
    labels = np.zeros((2, 5), np.int64)
    kd.bind(DistillationInputs(Teacher(taught.numpy()), labels, kind, torch.device("cpu"), 0))
    words = torch.full((2, length), NO_LABEL)
    words[:, :2] = 1
    batch = {"rows": torch.tensor([1, 0]), "labels": words}
    ours, theirs = ((each[:, :2] / 2.0).log_softmax(-1).flatten(0, 1) for each in (outputs, taught[[1, 0]]))
    expected = 4.0 * nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    torch.testing.assert_close(kd.loss(torch.tensor(7.0), outputs, batch), expected)
