"""The kinds of 8-bit networks, by name; what each needs installed, and how each is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.export.int8.onnxruntime import DYNAMIC, STATIC, quantised_dynamic, quantised_static
from pipeline.export.int8.quantised import Fp32, Quantised
from pipeline.export.int8.torchao import quantised_torchao
from pipeline.export.onnx import PACKAGES
from pipeline.study.nearest import did_you_mean
from pipeline.study.records import BadInput

ONNX_KINDS = ("dynamic", "static")  # what `--int8` tries


@dataclass(frozen=True)
class Kind:
    """A kind of 8-bit network.

    Attributes:
        said: what it is, for the card.
        packages: modules that it needs.
        extra: of prunefront, that installs them.
        make: (fp32 network, folder) -> the 8-bit network; it writes its file, if it has one, into the folder.
    """

    said: str
    packages: tuple[str, ...]
    extra: str
    make: Callable[[Fp32, Path], Quantised]
    optimisation: str = ""  # of the graph, at which onnxruntime runs it fastest


KINDS = {
    "dynamic": Kind(
        "int8 weights a channel; the scale of activations is that of each batch",
        PACKAGES,
        "onnx",
        quantised_dynamic,
        DYNAMIC,
    ),
    "static": Kind(
        "int8 weights a channel; the scale of activations is calibrated on training rows",
        PACKAGES,
        "onnx",
        quantised_static,
        STATIC,
    ),
    "torchao": Kind(
        "int8 weights a channel; the scale of activations is that of each token; embeddings stay in fp32",
        ("torchao",),
        "torchao",
        quantised_torchao,
    ),
}


def check_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds, checked.

    Raises:
        BadInput: one is unknown, or its packages are missing; the message has the command that installs them.
    """
    for name in names:
        if name not in KINDS:
            raise BadInput(
                f"--int8-kind {name!r} is unknown.{did_you_mean(name, KINDS)} There are {', '.join(KINDS)}."
            )
        missing = [package for package in KINDS[name].packages if find_spec(package) is None]
        if missing:
            raise BadInput(
                f"--int8 ({name}) needs {', '.join(missing)}, not installed here. "
                f"pip install 'prunefront[{KINDS[name].extra}]'"
            )
    return tuple(dict.fromkeys(names))
