"""The dense network in the cache that all studies of a task and model share."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from pipeline.trial.anchors import DenseRecipe, DenseRun, read_dense, weights_file, write_dense

RECIPE = DenseRecipe((1e-3,), 1.0, 8, 0.1, 0.0)


def run_of(fill: float, metric: float = 0.9, rate: float = 1e-3) -> DenseRun:
    weights = {"w": np.full((200, 200), fill, np.float32)}
    return DenseRun(rate, metric, 1, 1, 1, 1.0, 1.0, 0.0, 0.0, weights)


def filled_with(folder: Path) -> set[float]:
    return set(load_file(weights_file(folder))["w"].ravel().tolist())


def test_the_best_run_is_kept_with_its_weights(tmp_path: Path) -> None:
    write_dense(tmp_path / "x", [run_of(1.0, 0.8), run_of(2.0, 0.9, 2e-3)], RECIPE)
    about = read_dense(tmp_path / "x")
    assert about is not None
    assert (about["metric"], about["learning_rate"]) == (0.9, 2e-3)
    assert about["tried"] == {"0.001": 0.8, "0.002": 0.9}
    assert filled_with(tmp_path / "x") == {2.0}


def test_of_two_studies_that_train_it_at_once_the_first_decides_and_no_reader_sees_a_mixture(
    tmp_path: Path,
) -> None:
    folder, gate, failures, torn = tmp_path / "x", threading.Barrier(3), list[str](), list[str]()

    def study(fill: float) -> None:
        gate.wait()
        try:
            for _ in range(10):
                assert write_dense(folder, [run_of(fill, metric=fill / 10)], RECIPE)["metric"] in (0.1, 0.2)
        except BaseException as error:
            failures.append(f"{type(error).__name__}: {error}")

    def reader() -> None:
        gate.wait()
        while any(each.is_alive() for each in studies):
            if (about := read_dense(folder)) is not None and filled_with(folder) != {10 * about["metric"]}:
                torn.append(str(about))

    studies = [threading.Thread(target=study, args=(fill,)) for fill in (1.0, 2.0)]
    for each in studies:
        each.start()
    reader()
    assert failures == torn == []
    assert len(list(folder.glob("*.safetensors"))) == 1, "the other's are removed"
    assert not list(folder.glob(".*.part"))


def test_a_damaged_description_is_written_anew(tmp_path: Path) -> None:
    write_dense(tmp_path / "x", [run_of(1.0)], RECIPE)
    about = tmp_path / "x" / "dense.json"
    for damage in (b"", about.read_bytes()[:20], b"[1]", b"\xff\x00"):
        about.write_bytes(damage)
        assert read_dense(tmp_path / "x") is None
        write_dense(tmp_path / "x", [run_of(2.0)], RECIPE)
        assert filled_with(tmp_path / "x") == {2.0}


def test_weights_of_a_damaged_description_stay_in_its_folder(tmp_path: Path) -> None:
    write_dense(tmp_path / "x", [run_of(1.0)], RECIPE)
    about = json.loads((tmp_path / "x" / "dense.json").read_text())
    (tmp_path / "elsewhere.safetensors").write_bytes(b"x")
    (tmp_path / "x" / "dense.json").write_text(json.dumps(about | {"weights": "../elsewhere.safetensors"}))
    assert read_dense(tmp_path / "x") is None
    assert weights_file(tmp_path / "x").parent == tmp_path / "x"
