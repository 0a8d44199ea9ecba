"""A folder as the pages assume it: task files, a data file, and a store with the studies that they name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pipeline.study.records import refer
from pipeline.study.space import load_space
from pipeline.study.store import Store
from tests.kit.onetrial import NAME, make_study

FIRST, OWN = "docstrings-tiny-bert-snip", "reviews-bert-base-uncased-snip"
METHODS = ("snip", "first-order", "layerdrop")  # compared, on these seeds
SEEDS = range(3)


def make_pages_folder(folder: Path) -> None:
    """Train one trial; its study stands in the store under every name that a page uses."""
    made = make_study(folder / "made")
    for name in ("train.tsv", "test.tsv"):
        shutil.copy(made.task_file.parent / name, folder / name)
    text = made.task_file.read_text().replace('name = "toy"', 'name = "reviews"')
    for name in ("reviews.toml", "A.toml", "B.toml"):
        (folder / name).write_text(text)
    (folder / "space.toml").write_text('[level]\nvalue = "head"\n')
    store = Store(folder / "mlflow_runs")
    _copy(made.store, store, FIRST, task="builtin/docstrings")
    _copy(made.store, store, OWN, seed=len(SEEDS))
    for method in METHODS:
        for seed in SEEDS:
            _copy(made.store, store, f"reviews-{method}-seed{seed}", method=method, seed=seed)


def copy_pages_folder(source: Path, target: Path) -> None:
    """Copy the folder; its studies refer to the task file in the copy."""
    shutil.copytree(source, target)
    for file in (target / "mlflow_runs" / "studies").glob("*/task.json"):
        file.write_text(file.read_text().replace(str(source), str(target)))


def copy_study(source: str, name: str, *, store: Path, method: str, seed: int) -> None:
    """Copy a study of a store under another name, as if another method or seed had found the same."""
    _copy(Store(store), Store(store), name, source=source, method=method, seed=seed)


def _copy(
    made: Store,
    store: Store,
    name: str,
    *,
    source: str = NAME,
    task: str = "reviews",
    method: str = "snip",
    seed: int = 0,
) -> None:
    target = store.root / "studies" / name
    shutil.copytree(made.root / "studies" / source, target)
    space = load_space(method, file=None, pretrained=False).toml
    changed = {"name": name, "task": task, "method": method, "seed": seed, "space_toml": space}
    file = target / "spec.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    store.task(name).write(refer(str(store.root.parent / "reviews.toml")))
