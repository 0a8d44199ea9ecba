"""A point's network: from its weights it predicts what was recorded; without them it is trained again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cli.app import run
from pipeline.export.network import network_of
from pipeline.export.reopen import Reopened, reopen
from pipeline.fronts.front import load_front
from pipeline.study.records import BadInput, NetworkLost, refer
from pipeline.study.store import RECOVERED, Store, before_cut
from pipeline.trial.measure import count_zeroed, evaluate
from pipeline.trial.training import loss_checks
from tests.kit.kinds import CLASSES
from tests.kit.onetrial import NAME, Made, make_study
from tests.kit.toy import write_task
from tests.kit.trials import MOVEMENT


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_study(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def study(made: Made, tmp_path: Path) -> Reopened:
    """A copy that a test may harm."""
    shutil.copytree(made.store.root, tmp_path / "store")
    return reopen(Store(tmp_path / "store"), NAME)


def predictions(study: Reopened, trial: int, place: int) -> np.ndarray:
    network = network_of(study, trial, place)
    found = evaluate(network.model, study.inputs.data.validation, CLASSES)
    return found.predictions


def test_every_point_comes_back_from_the_kept_weights(study: Reopened, made) -> None:
    record = made.record
    assert {(point.kind, point.round) for point in record.points} == {
        ("curve", 0),
        ("curve", 1),
        ("recovered", 1),
    }
    for place, point in enumerate(record.points):
        network = network_of(study, 0, place)
        assert network.anatomy.present.same(point.masks)
        assert network.retrained is None
        assert np.array_equal(predictions(study, 0, place), point.predictions), place
    assert not network.model.training


@pytest.mark.parametrize(("kind", "round_"), [("curve", 0), ("curve", 1), ("recovered", 1)])
def test_without_weights_the_same_network_is_trained_again(
    study: Reopened, made, kind: str, round_: int
) -> None:
    record, weights = made.record, study.store.study(NAME).weights
    place = max(i for i, p in enumerate(record.points) if (p.kind, p.round) == (kind, round_))
    path = weights.path(0, RECOVERED if kind == "recovered" else before_cut(round_))
    before = path.read_bytes()
    weights.keep_only([])
    assert weights.size_bytes() == 0

    network = network_of(study, 0, place)

    assert path.read_bytes() == before  # bit for bit, on one machine
    assert network.retrained is not None
    assert network.retrained.metric == network.retrained.recorded == record.points[place].measurement.metric
    assert not network.retrained.differs
    again = network_of(study, 0, place)  # now from the weights, still marked
    assert again.retrained == network.retrained
    marked = [p.retrained for p in load_front(NAME, store=study.store.root).points if p.point == place]
    assert all(mark == network.retrained for mark in marked)


def test_networks_of_single_weights_come_back_from_scores_and_thresholds(tmp_path: Path) -> None:
    params = MOVEMENT | {"batch_size": 32, "recover_epochs": 0.5}
    found = make_study(tmp_path, params, method="movement")
    store, record = found.store, found.record
    study = reopen(store, NAME)
    for again in (False, True):  # from what is kept; then trained again
        for place, point in enumerate(record.points):
            network = network_of(study, 0, place)
            found = count_zeroed(network.anatomy) / network.anatomy.costs.encoder
            assert found == point.measurement.sparsity
            assert np.array_equal(predictions(study, 0, place), point.predictions), place
        if not again:
            kept = {
                path: path.read_bytes()
                for path in store.root.rglob("*.safetensors")
                if "trials" in path.parts
            }
            assert len(kept) == 2
            store.study(NAME).weights.keep_only([])
    assert network.retrained is not None
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_a_recovered_network_is_not_made_of_its_curves_weights(study: Reopened, made) -> None:
    """Those stay if the curve is on the front and the recovered network is not."""
    record, weights = made.record, study.store.study(NAME).weights
    path = weights.path(0, RECOVERED)
    before = path.read_bytes()
    path.unlink()
    network = network_of(study, 0, len(record.points) - 1)
    assert network.retrained is not None
    assert path.read_bytes() == before


def test_damaged_weights_are_refused_with_the_way_out(study: Reopened) -> None:
    path = study.store.study(NAME).weights.path(0, before_cut(0))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        BadInput, match=r"round-00\.safetensors cannot be read into its network.*Remove the file"
    ):
        network_of(study, 0, 0)


def test_a_training_that_diverges_this_time_is_no_fault_of_the_program(
    study: Reopened, made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As on a machine that rounds otherwise: here the limit of what a loss may be is lower."""
    study.store.study(NAME).weights.keep_only([])
    monkeypatch.setattr(loss_checks, "DIVERGED", 1e-6)
    with pytest.raises(NetworkLost, match=r"of trial 0's network are gone.*again failed: the loss diverged"):
        network_of(study, 0, 0)
    arguments = [
        "export",
        NAME,
        "--store",
        str(study.store.root),
        "--to",
        str(tmp_path / "out"),
        "--trial",
        "0",
    ]
    assert run(arguments) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "Choose another network of the front, by --point" in said
    assert "fault of prunefront" not in said
    assert not (tmp_path / "out").exists()


def test_a_point_that_is_not_there(study: Reopened, made) -> None:
    with pytest.raises(
        BadInput, match=f"has {len(made.record.points)} points, numbered from 0; requested was 99"
    ):
        network_of(study, 0, 99)
    with pytest.raises(BadInput, match="4"):
        network_of(study, 4, 0)


def test_a_task_that_has_moved_is_found_where_it_is_said_to_be(study: Reopened, made, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(made.task_file.parent, moved)
    store = study.store
    store.study(NAME).task.write(refer(str(tmp_path / "gone" / "task.toml")))
    with pytest.raises(BadInput, match=r"is not there any more.*--task"):
        reopen(store, NAME)
    found = reopen(store, NAME, task=str(moved / "task.toml"))
    assert found.inputs.data.validation.ids == study.inputs.data.validation.ids
    assert len(found.test()) == 40


def test_other_rows_are_refused(study: Reopened, made, tmp_path: Path) -> None:
    other = write_task(tmp_path / "other", rows=160, seed=1)
    with pytest.raises(BadInput, match="other rows now"):
        reopen(study.store, NAME, task=str(other))


def test_a_study_that_never_said_where_its_task_lies(study: Reopened, made) -> None:
    (study.store.study(NAME).folder / "task.json").unlink()
    with pytest.raises(BadInput, match=r"older prunefront.*--task"):
        reopen(study.store, NAME)
    assert reopen(study.store, NAME, task=str(made.task_file)).spec.name == NAME
