"""Symbolic links in a store that somebody else wrote: nothing outside of it is read, written or removed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.study.records import BadInput
from pipeline.study.store import Store
from tests.kit.synthetic import point, record, spec


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "store")
    found.write_spec(spec())
    study = found.study("toy")
    attempt = study.attempts(0).begin()
    (attempt / "weights").mkdir()
    (attempt / "weights" / "recovered.safetensors").write_bytes(b"w")
    study.write_record(record(0, point(0.8, 0.5, kind="recovered")), attempts=[attempt])
    study.complete_all()
    return Store(found.root)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Somebody's."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "thesis.safetensors").write_bytes(b"years")
    (folder / ".bashrc.0a1b2c3d.part").write_bytes(b"x")
    return folder


def replaced(path: Path, target: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


OUTSIDE: dict[str, Callable[[Path], Path]] = {
    "studies": lambda root: root / "studies",
    "a study": lambda root: root / "studies" / "toy",
    "trials": lambda root: root / "studies" / "toy" / "trials",
    "a trial": lambda root: root / "studies" / "toy" / "trials" / "00000",
    "weights": lambda root: root / "studies" / "toy" / "trials" / "00000" / "weights",
    "a file": lambda root: root / "studies" / "toy" / "trials" / "00000" / "weights" / "round-00.safetensors",
    "the cache": lambda root: root / "cache",
    "MLflow's database": lambda root: root / "mlflow.db",
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_link_out_of_the_store_is_refused(store: Store, home: Path, what: str) -> None:
    replaced(OUTSIDE[what](store.root), home)
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    for call in (
        lambda: store.study("toy").exists(),
        lambda: store.study("toy").read_table(),
        lambda: Store(store.root).list_studies(),
    ):
        with pytest.raises(BadInput, match=r"is a symbolic link to .*home.*, outside of"):
            call()
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


def test_a_link_to_nothing_or_to_itself_is_one_out_of_the_store(store: Store, tmp_path: Path) -> None:
    link = store.study("toy").folder / "outbox.json"
    for target in (tmp_path / "nowhere", link):
        link.symlink_to(target)
        with pytest.raises(BadInput, match="outside of"):
            Store(store.root).study("toy").exists()
        link.unlink()


def test_links_within_the_store_and_to_the_store_are_followed(store: Store, tmp_path: Path) -> None:
    weights = store.study("toy").trial_folder(0) / "weights"
    weights.rename(store.root / "aside")
    weights.symlink_to(store.root / "aside")
    (tmp_path / "short").symlink_to(store.root)
    assert Store(tmp_path / "short").study("toy").finished_numbers() == [0]
    assert Store(tmp_path / "short").list_studies() == ["toy"]
