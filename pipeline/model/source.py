"""A model as data, and the network that is built from it.

The driver resolves a name once (resolve.py). The result, a ModelSource, reaches trials through Ray's
object store and restarts through a copy in the store: a worker reads nothing from the hub or from the
driver's disk.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.model.anatomy import Anatomy, find_architecture
from pipeline.model.completeness import check_names, check_tokenizer_file
from pipeline.model.earlier_cut import anatomy_as_given, network_class
from pipeline.model.head import HeadMatch
from pipeline.model.heads import CLASSIFIER, IMAGE_CLASSIFIER
from pipeline.model.image_inputs import ImageReader, image_tokens, read_processor
from pipeline.model.silence import quiet
from pipeline.study.records import BadInput, OriginalSize
from pipeline.study.whole_file import whole_file, whole_folder

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

SCORE = "score/"  # before the name of a matrix, in a file of weights: a state dict has no such names
NO_SCORES: Mapping[str, Tensor] = MappingProxyType({})

Weights = dict[str, npt.NDArray[np.generic]]

NO_HEAD = HeadMatch(None, "it has no classification head")


@dataclass(frozen=True, eq=False)
class ModelSource:
    """A model as data.

    `weights` (fp32, by state-dict name) lacks what each trial initialises from its own seed. `config` is what
    config.json holds; `tokenizer_files` are the bytes by file name. `fingerprint` is the sha256 of
    configuration, vocabulary and weights, followed by @ and the commit for a model from the hub. `remarks` are
    sentences for the user on how it was read; `head` is how its own head fits the task, as given: a copy does not hold
    it. `original`: if it was cut before, or its vocabulary trimmed. `network`: a key of `heads.HEADS`.
    """

    name: str
    fingerprint: str
    config: dict[str, Any]
    weights: Weights
    tokenizer_files: dict[str, bytes]
    remarks: tuple[str, ...] = ()
    head: HeadMatch = NO_HEAD
    original: OriginalSize | None = None
    network: str = CLASSIFIER

    @property
    def pretrained(self) -> bool:
        """Whether there are weights to start from."""
        return bool(self.weights)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights."""
        return sum(array.nbytes for array in self.weights.values())

    @property
    def max_length(self) -> int:
        """Tokens of the longest row that the position embeddings reach; of images, those of one."""
        config = read_config(self)
        if self.network == IMAGE_CLASSIFIER:
            return image_tokens(config)
        positions = int(config.max_position_embeddings)
        if find_architecture(config.model_type).positions_after_padding:
            return positions - int(config.pad_token_id) - 1
        return positions


def build(source: ModelSource, *, seed: int) -> tuple[PreTrainedModel, Anatomy]:
    """Build a fresh fp32 network on the CPU, in eval mode, and its Anatomy.

    Parts without weights are initialised from `seed`; torch's global generator is not advanced.
    """
    config = read_config(source)
    if find_architecture(config.model_type).causal:
        config.use_cache = False  # of keys and values: for texts that are written on
    network = network_class(config, source.network)
    # torch.tensor copies: arrays out of Ray's object store are read-only and shared between trials.
    weights = {name: torch.tensor(array) for name, array in source.weights.items()}
    with torch.random.fork_rng(devices=[]), quiet():
        torch.default_generator.manual_seed(seed)
        if weights:  # only what is missing from them is initialised
            model = network.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                dtype=torch.float32,
                attn_implementation=attention_of(network),
            )
        else:
            model = network._from_config(
                config, dtype=torch.float32, attn_implementation=attention_of(network)
            )
    model.eval()
    anatomy = anatomy_as_given(model)
    if source.original is not None and source.original.trimmed:  # compression of the whole counts them
        costs = replace(anatomy.costs, other=anatomy.costs.other + source.original.trimmed)
        anatomy = replace(anatomy, costs=costs)
    return model, anatomy


def attention_of(network: Any) -> str:
    """Return how a class of networks computes attention: by PyTorch's fused kernels where it can."""
    return "sdpa" if network._supports_sdpa else "eager"


def preprocessor(source: ModelSource) -> Any:
    """Return the model's fast tokenizer, or its image processor (an ImageReader)."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as temporary:
        for name, content in source.tokenizer_files.items():
            (Path(temporary) / name).write_bytes(content)
        if source.network == IMAGE_CLASSIFIER:
            return read_processor(source.name, temporary, read_config(source))
        (Path(temporary) / "config.json").write_text(json.dumps(source.config))
        return AutoTokenizer.from_pretrained(
            temporary, trust_remote_code=False
        )  # resolve_model takes no slow one


def tokenizer(source: ModelSource) -> PreTrainedTokenizerFast:
    """Return the model's fast tokenizer.

    Raises:
        BadInput: it reads images.
    """
    found = preprocessor(source)
    if isinstance(found, ImageReader):
        raise BadInput(f"{source.name} reads images, and has no tokens.")
    return cast("PreTrainedTokenizerFast", found)


def write_source(source: ModelSource, folder: Path) -> None:
    """Write a copy that `read_source` and transformers read; the folder appears whole or not at all.

    Raises:
        FileExistsError: if the folder is there already, with something else in it.
    """
    from safetensors.numpy import save_file

    if folder.exists():
        if read_source(folder).fingerprint != source.fingerprint:
            raise FileExistsError(f"A model's copy is written once; {folder} holds another model.")
        return
    with whole_folder(folder) as new:
        for name, content in source.tokenizer_files.items():
            (new / name).write_bytes(content)
        (new / "config.json").write_text(json.dumps(source.config, indent=2))
        if source.weights:
            save_file(source.weights, new / "model.safetensors", metadata={"format": "pt"})
        about: dict[str, Any] = {
            "name": source.name,
            "fingerprint": source.fingerprint,
            "tokenizer_files": sorted(source.tokenizer_files),
            "remarks": list(source.remarks),
        }
        about |= {"network": source.network} if source.network != CLASSIFIER else {}
        if source.original is not None:
            about["original"] = asdict(source.original)
        (new / "source.json").write_text(json.dumps(about, indent=2))


def read_source(folder: Path) -> ModelSource:
    """Read what `write_source` wrote.

    Raises:
        BadInput: it is damaged, or names a file outside its folder.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / "source.json"
    try:
        about = json.loads(path.read_text())
        check_names(folder, about["tokenizer_files"])
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config["model_type"]
        files: dict[str, bytes] = {}
        for name in about["tokenizer_files"]:
            path = folder / name
            files[name] = path.read_bytes()
            check_tokenizer_file(name, files[name])
        path = folder / "model.safetensors"
        return ModelSource(
            name=about["name"],
            fingerprint=about["fingerprint"],
            config=config,
            weights=load_file(path) if path.exists() else {},
            tokenizer_files=files,
            remarks=tuple(about.get("remarks", ())),
            original=OriginalSize(**about["original"]) if "original" in about else None,
            network=str(about.get("network", CLASSIFIER)),
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{path} is damaged: {type(error).__name__}: {error}. A study keeps a copy of its model. "
            f"Restore {folder} from a copy."
        ) from error


def weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return a network's state dict, each tensor once: tied ones by the name that comes first, on their own device."""
    found: dict[str, Tensor] = {}
    seen: set[tuple[int, torch.Size]] = set()
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if not tensor.numel() or key not in seen:
            found[name] = tensor.detach()
        seen.add(key)
    return found


def save_weights(model: PreTrainedModel, path: Path, *, scores: Mapping[str, Tensor] = NO_SCORES) -> None:
    """Write a network's state dict, and the scores of its single weights if there are any.

    The file appears whole or not at all, its folder is made.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    every = weights_of(model) | {f"{SCORE}{name}": values for name, values in scores.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in every.items()}
    try:
        with whole_file(path) as part:
            save_file(tensors, part, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read_weights(path: Path) -> Weights:
    """Read what `save_weights` wrote, as data.

    Raises:
        OSError: it cannot be read.
    """
    from safetensors.numpy import load_file

    return dict(load_file(path))


def load_weights(model: PreTrainedModel, path: Path) -> dict[str, Tensor]:
    """Load what `save_weights` wrote of a network of the same shape; return the scores of its single weights.

    Raises:
        BadInput: the file is damaged, or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
        scores = {name: tensors.pop(name) for name in [*tensors] if name.startswith(SCORE)}
        read = model.load_state_dict(tensors, strict=False)
        if read.unexpected_keys or {*read.missing_keys} != {*model.state_dict()} - {*weights_of(model)}:
            raise RuntimeError(
                f"it has {len(tensors)} tensors, of the {len(weights_of(model))} of the network"
            )
    except (SafetensorError, RuntimeError, OSError) as error:
        raise BadInput(
            f"{path} cannot be read into its network: {str(error).splitlines()[0]}. Remove the file: "
            "the network is then trained again."
        ) from error
    return {name.removeprefix(SCORE): values for name, values in scores.items()}


def read_config(source: ModelSource) -> PreTrainedConfig:
    """Return a model's configuration as the library has it."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**source.config)
