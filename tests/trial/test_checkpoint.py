"""Checkpoints: what was written comes back, and what was torn is passed over."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.trial import checkpoint as resume
from pipeline.trial.checkpoint import Checkpoint, load, save
from tests.kit.checkpoints import checkpoint


def at(found: Checkpoint | None) -> tuple[int, int] | None:
    return None if found is None else (found.phase, found.loop.step)


def test_what_was_saved_is_loaded(tmp_path: Path):
    written = checkpoint()
    save(tmp_path / "attempt-0", written)
    read = load([tmp_path / "attempt-0"])
    assert at(read) == (1, 7)
    assert torch.equal(read.loop.tensors["model"]["weight"], torch.full((40, 50), 0.5))
    assert read.loop.tensors["optimizer"]["param_groups"] == [{"lr": 0.1, "betas": (0.9, 0.9)}]
    assert read.masks.same(written.masks)
    assert read.masks.heads.dtype == np.bool_
    assert read.so_far.history == written.so_far.history
    assert read.so_far.points[0].measurement == written.so_far.points[0].measurement
    assert read.so_far.points[0].predictions.tolist() == [1, 0, 2]


def test_before_the_first_cut_there_are_no_masks(tmp_path: Path):
    save(tmp_path, checkpoint(cut=False))
    assert load([tmp_path]).masks is None


def test_without_a_checkpoint_there_is_none(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert load([]) is None
    assert load([tmp_path / "empty", tmp_path / "absent"]) is None


def test_the_one_that_is_farthest_on_is_loaded_of_all_attempts(tmp_path: Path):
    folders = [tmp_path / f"attempt-{i}" for i in range(4)]
    for folder, (phase, step) in zip(folders, [(0, 90), (1, 9), (1, 10), (0, 1_000)], strict=True):
        save(folder, checkpoint(phase, step))
    assert at(load(folders)) == (1, 10)
    assert at(load(folders[:2])) == (1, 9)


def test_of_two_that_are_as_far_the_later_attempt_s_is_loaded(tmp_path: Path):
    for attempt in range(2):
        save(tmp_path / f"attempt-{attempt}", checkpoint(value=attempt))
    read = load([tmp_path / "attempt-0", tmp_path / "attempt-1"])
    assert read.loop.tensors["model"]["weight"][0, 0] == 1.0


def test_a_new_one_replaces_its_own_attempt_s_and_leaves_the_others(tmp_path: Path):
    first, second = tmp_path / "attempt-0", tmp_path / "attempt-1"
    save(first, checkpoint(0, 5))
    save(second, checkpoint(0, 6))
    save(second, checkpoint(0, 7))
    assert [path.name for path in first.iterdir()] == ["checkpoint-000-0000005"]
    assert [path.name for path in second.iterdir()] == ["checkpoint-000-0000007"]
    save(second, checkpoint(0, 7, value=2.0))  # the same step again
    assert load([second]).loop.tensors["model"]["weight"][0, 0] == 2.0


def test_one_that_is_torn_at_any_byte_is_passed_over(tmp_path: Path):
    older, newer = tmp_path / "attempt-0", tmp_path / "attempt-1"
    save(older, checkpoint(0, 5))
    save(newer, checkpoint(0, 6))
    (folder,) = newer.iterdir()
    for name in ("state.pt", "record.json", "record.npz"):
        whole = (folder / name).read_bytes()
        for length in {0, 1, 2, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
            (folder / name).write_bytes(whole[:length])
            assert at(load([older, newer])) == (0, 5), (name, length)
        (folder / name).unlink()
        assert at(load([older, newer])) == (0, 5), name
        (folder / name).write_bytes(whole)
    assert at(load([older, newer])) == (0, 6)


@pytest.mark.parametrize("content", [b"\x00" * 64, b"no zip file", pickle.dumps({"phase": 3}, protocol=2)])
def test_a_file_of_another_kind_is_passed_over(tmp_path: Path, content: bytes):
    save(tmp_path, checkpoint())
    (folder,) = tmp_path.iterdir()
    (folder / "state.pt").write_bytes(content)
    assert load([tmp_path]) is None


def test_a_checkpoint_runs_no_code(tmp_path: Path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    save(tmp_path, checkpoint())
    (folder,) = tmp_path.iterdir()
    torch.save({"phase": 1, "step": 2, "tensors": {"x": Bomb()}}, folder / "state.pt")
    assert load([tmp_path]) is None
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("failing", ["torch.save", "save_record"])
def test_an_interrupted_save_leaves_the_older_one(tmp_path: Path, monkeypatch, failing: str):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    save(tmp_path, checkpoint(0, 5))
    with monkeypatch.context() as patch:
        patch.setattr(torch if failing == "torch.save" else resume, failing.split(".")[-1], full)
        with pytest.raises(OSError, match="No space"):
            save(tmp_path, checkpoint(0, 6))
    assert at(load([tmp_path])) == (0, 5)
    save(tmp_path, checkpoint(0, 6))
    assert at(load([tmp_path])) == (0, 6)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000-0000006"]
