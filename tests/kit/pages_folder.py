"""A folder as the pages assume it: task files, a data file, and a store with the studies that they name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pipeline.study.records import refer
from pipeline.study.space import load_space
from pipeline.study.store import Store
from tests.kit.onetrial import NAME, make_study

FIRST, OWN = "digits-tiny-vit-snip", "reviews-bert-base-uncased-snip"
METHODS = ("snip", "first-order", "layerdrop")  # compared, on these seeds
SEEDS = range(3)


def make_pages_folder(folder: Path) -> None:
    """Train one trial; its study stands in the store under every name that a page uses."""
    made = make_study(folder / "made")
    for name in ("train.tsv", "test.tsv"):
        shutil.copy(made.task_file.parent / name, folder / name)
    rows = (folder / "train.tsv").read_text().replace("\t", ",").replace("sentence,label", "review,topic")
    (folder / "reviews.csv").write_text(rows)
    text = made.task_file.read_text().replace('name = "toy"', 'name = "reviews"')
    for name in ("reviews.toml", "A.toml", "B.toml"):
        (folder / name).write_text(text)
    (folder / "space.toml").write_text('[level]\nvalue = "head"\n')
    store = folder / "mlflow_runs"
    shutil.copytree(made.store.root, store)
    Store(store).study(NAME).task.write(refer(str(folder / "reviews.toml")))
    copy_study(NAME, FIRST, store=store, task="builtin/digits")
    copy_study(NAME, OWN, store=store, seed=len(SEEDS))
    for method in METHODS:
        for seed in SEEDS:
            copy_study(NAME, f"reviews-{method}-seed{seed}", store=store, method=method, seed=seed)
    shutil.rmtree(store / "studies" / NAME)


def copy_pages_folder(source: Path, target: Path) -> None:
    """Copy the folder; its studies refer to the task file in the copy."""
    shutil.copytree(source, target)
    for file in (target / "mlflow_runs" / "studies").glob("*/task.json"):
        file.write_text(file.read_text().replace(str(source), str(target)))


def copy_study(
    study: str, name: str, *, store: Path, task: str = "reviews", method: str = "snip", seed: int = 0
) -> None:
    """Copy a study of a store under another name, as if another method or seed had found the same."""
    target = store / "studies" / name
    shutil.copytree(store / "studies" / study, target)
    own = target / "threshold.toml"  # the trial was cut at one
    own.write_text("[threshold]\nvalue = 0.9\n")
    space = load_space(method, file=own if method == "snip" else None, pretrained=False).toml
    own.unlink()
    changed = {"name": name, "task": task, "method": method, "seed": seed, "space_toml": space}
    file = target / "spec.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
