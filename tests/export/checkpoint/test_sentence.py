"""Who has sentence-transformers, and nothing of ours, gets the embeddings that we get."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

import prunefront
from pipeline.export.export import export
from pipeline.task.kinds import Embedding
from pipeline.trial.latency import timing
from tests.kit.environments import with_sentence_transformers
from tests.kit.kinds import write_rows
from tests.kit.onetrial import NAME, make_study
from tests.kit.toy import write_model
from tests.kit.trials import SNIP

PARAMS = {key: value for key, value in SNIP.items() if key != "threshold"} | {
    "rank_by": "obs", "allocation": "uniform", "target": 0.4, "batch_size": 16
}  # fmt: skip
TEXTS = ["the story of a warm river", "cold scene"]
SCRIPT = """
import json, sys
from importlib.util import find_spec
from sentence_transformers import SentenceTransformer
found = {}
for folder in sys.argv[1:]:
    trusted = "plain" not in folder
    model = SentenceTransformer(folder, trust_remote_code=trusted, device="cpu")
    found[folder] = model.encode(json.loads(TEXTS)).tolist()
print(json.dumps({"found": found, "ours": [name for name in ("pipeline", "prunefront", "ray") if find_spec(name)]}))
"""


@pytest.mark.long
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_sentence_transformers_computes_the_same(
    pooling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "WHOLE_SECONDS", 0.1)
    data, model = write_rows(tmp_path / "data", "embedding"), write_model(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"sentence_pooling": pooling}))
    task = tmp_path / "task.toml"
    task.write_text(
        f'name = "texts"\nkind = "embedding"\ntext = ["text"]\nmax_length = 16\n[files]\ntrain = "{data}/train.jsonl"\n'
    )
    made = make_study(tmp_path / "study", PARAMS, task_name=str(task), model=str(model))
    folders = {plain: tmp_path / ("plain" if plain else "cut") for plain in (False, True)}
    for plain, folder in folders.items():
        export(NAME, to=folder, store=made.store.root, min_compression=0.3, plain=plain)
    run = subprocess.run(
        [with_sentence_transformers(), "-I", "-c", f"TEXTS = {json.dumps(TEXTS)!r}{SCRIPT}", *folders.values()],
        capture_output=True, text=True, cwd=tmp_path, check=False, timeout=200,
        env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["ours"] == []
    tokenizer, network = prunefront.load_tokenizer(folders[False]), prunefront.load(folders[False])
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        ours = Embedding("cosine", pooling=pooling).outputs(network(**batch), batch)
    for folder in folders.values():
        torch.testing.assert_close(torch.tensor(told["found"][str(folder)]), ours, rtol=1e-4, atol=1e-5)
