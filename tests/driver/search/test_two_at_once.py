"""Two commands that run at once, in one store: two searches, two exports, two confirmations, a sync beside a driver."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.driver.tracking.opening import connect
from pipeline.study.ledger import hold
from pipeline.study.store import Store
from tests.kit.forked import at_once
from tests.kit.inline import without_ray
from tests.kit.toy import prunefront_here, small, write_task

pytestmark = [
    pytest.mark.usefixtures("inline"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
TRIALS = 2


def searching(task: Path, store: Path, name: str, *, trials: int = TRIALS) -> list[str]:
    return [
        "search", *map(str, small(task)), "--name", name, "--quiet", "--trials", str(trials), "--concurrent", "1",
        "--latency-grid", "none", "--scheduler", "none", "--store", str(store),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A task, and a store with a study of it."""
    folder = tmp_path_factory.mktemp("two-at-once")
    task = write_task(folder / "task", rows=120)
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        run = prunefront_here(*searching(task, folder / "store", "toy"))
    assert run.returncode == 0, run.stderr
    return task, folder / "store"


@pytest.fixture
def store(searched: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(searched[1], tmp_path / "store"))


def runs_of(store: Path) -> Counter[tuple[str, int]]:
    """How often MLflow has each trial of each study."""
    client = connect(None, store_root=store)._client
    tags = [
        run.data.tags
        for run in client.search_runs([each.experiment_id for each in client.search_experiments()])
    ]
    return Counter(
        (each["prunefront.study"], int(each["prunefront.trial"]))
        for each in tags
        if "prunefront.trial" in each
    )


def test_two_searches_of_one_task_share_its_dense_network_and_both_end_well(
    searched: tuple[Path, Path], tmp_path: Path
) -> None:
    """Nothing is there yet: ledger, MLflow's database, the task's cache and the dense network are made by both."""
    store = tmp_path / "store"
    commands = [searching(searched[0], store, name) for name in ("one", "two")]
    for code, said in at_once(tmp_path, *commands):
        assert code == 0, said
    studies = [Store(store).study(name) for name in ("one", "two")]
    assert studies[0].read_spec().anchors == studies[1].read_spec().anchors
    for study in studies:
        assert study.finished_numbers() == list(range(TRIALS))
    assert runs_of(store) == {(name, number): 1 for name in ("one", "two") for number in range(TRIALS)}


def test_of_two_searches_of_one_study_the_second_is_refused(
    searched: tuple[Path, Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    command = searching(searched[0], store, "toy", trials=4)
    ended = at_once(tmp_path, command, command)
    assert sorted(code for code, _ in ended) == [0, 2], ended
    assert "One driver at a time searches a study" in max(ended)[1]
    assert Store(store).study("toy").finished_numbers() == [0, 1, 2, 3]
    assert runs_of(store) == {("toy", number): 1 for number in range(4)}


def test_two_exports_of_one_network_both_end_well(store: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / "first", tmp_path / "second"]
    commands = [["export", "toy", "--store", str(store), "--to", str(path)] for path in outputs]
    for code, said in at_once(tmp_path, *commands):
        assert code == 0, said
    first, second = ((path / "model.safetensors").read_bytes() for path in outputs)
    assert first == second
    scores = Store(store).study("toy").exports.read()
    assert len({(each.trial, each.point) for each in scores}) == len(scores) == 2, (
        "its own, and the dense one's"
    )


def test_two_confirmations_of_one_study_are_whole(store: Path, tmp_path: Path) -> None:
    command = ["confirm", "toy", "--store", str(store), "--seeds", "2", "--concurrent", "1"]
    for code, said in at_once(tmp_path, command, command):
        assert code == 0, said
    confirmations = Store(store).study("toy").confirmations
    _, labels = confirmations.read_test()
    found = confirmations.read()
    assert sorted(each.number for each in found) == [0, 1]
    for each in found:
        assert each.measurement is not None
        assert np.mean(each.predictions == labels) == pytest.approx(each.measurement.metric)


def test_a_sync_beside_a_driver_leaves_the_study_to_it_and_two_syncs_publish_once(
    store: Path, tmp_path: Path
) -> None:
    (store / "mlflow.db").unlink()
    sync = ["studies", "--sync", "--store", str(store)]
    with hold(f"sqlite:///{store}/studies.db", "toy"):
        ((_, said),) = at_once(tmp_path, sync)
        assert "One driver at a time searches a study" in said
        assert runs_of(store) == {}
    at_once(tmp_path, sync, sync)
    assert runs_of(store) == {("toy", number): 1 for number in range(TRIALS)}
