"""Weights on disk: what is on the front stays, all else goes, nothing of a running trial is touched."""

from __future__ import annotations

from pathlib import Path

from pipeline.study.records import PointRef
from pipeline.study.store import WEIGHTS, Retrained, Store, before_cut
from tests.kit.synthetic import point, record, spec


def written(folder: Path, *names: str, size: int = 10) -> None:
    (folder / WEIGHTS).mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / WEIGHTS / f"{name}.safetensors").write_bytes(bytes(size))


def stored(root: Path) -> Store:
    store = Store(root)
    store.write_spec(spec())
    for number in (0, 1, 2):
        store.study("toy").write_record(record(number, point(0.8, 0.5, kind="recovered")))
        written(store.study("toy").trial_folder(number), before_cut(0), before_cut(1), "recovered")
    return store


def there(store: Store) -> set[str]:
    root = store.study("toy").folder / "trials"
    return {str(path.relative_to(root)) for path in root.rglob("*.safetensors")}


def test_only_what_makes_the_fronts_points_is_kept(tmp_path: Path) -> None:
    store = stored(tmp_path)
    store.study("toy").weights.keep_only([PointRef(0, 3, "curve", 1), PointRef(2, 5, "recovered", 1)])
    assert there(store) == {
        "00000/weights/round-01.safetensors",
        "00002/weights/recovered.safetensors",
    }
    assert not (store.study("toy").trial_folder(1) / WEIGHTS).exists()
    assert store.study("toy").weights.size_bytes() == 20


def test_a_recovered_point_without_training_is_cut_from_its_round(tmp_path: Path) -> None:
    store = stored(tmp_path)
    weights = store.study("toy").weights
    weights.path(1, "recovered").unlink()
    weights.keep_only([PointRef(1, 5, "recovered", 1)])
    assert there(store) == {"00001/weights/round-01.safetensors"}
    assert weights.of_point(PointRef(1, 5, "recovered", 1)) == weights.path(1, before_cut(1))
    assert weights.of_point(PointRef(1, 0, "curve", 0)) is None


def test_a_trial_that_has_not_ended_keeps_everything(tmp_path: Path) -> None:
    store = stored(tmp_path)
    running = store.study("toy").trial_folder(7)
    written(running / "attempt-01", before_cut(0))
    written(running, before_cut(0))  # taken over, its record comes next
    store.study("toy").weights.keep_only([])
    assert there(store) == {
        "00007/attempt-01/weights/round-00.safetensors",
        "00007/weights/round-00.safetensors",
    }


def test_the_last_attempt_that_wrote_a_network_is_the_one_that_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_spec(spec())
    folder = store.study("toy").trial_folder(0)
    written(folder / "attempt-01", before_cut(0), before_cut(1), size=1)
    written(folder / "attempt-02", before_cut(1), "recovered", size=2)
    store.study("toy").weights.take(0, [folder / "attempt-01", folder / "attempt-02"])
    sizes = {path.stem: path.stat().st_size for path in (folder / WEIGHTS).iterdir()}
    assert sizes == {before_cut(0): 1, before_cut(1): 2, "recovered": 2}


def test_what_was_trained_again_is_noted_point_by_point(tmp_path: Path) -> None:
    store = stored(tmp_path)
    weights = store.study("toy").weights
    near, far = Retrained(0.80, 0.79, 0.01), Retrained(0.80, 0.75, 0.01)
    weights.note_retrained(1, 4, near)
    weights.note_retrained(1, 6, far)
    assert weights.retrained(PointRef(1, 4, "curve", 0)) == near
    assert weights.retrained(PointRef(1, 6, "curve", 0)) == far
    assert weights.retrained(PointRef(1, 5, "curve", 0)) is None
    assert (near.differs, far.differs) == (False, True)
