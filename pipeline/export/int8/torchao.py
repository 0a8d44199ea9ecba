"""8-bit networks of torchao: linear maps alone, in PyTorch, without compilation."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

from torch import nn

from pipeline.export.int8.quantised import Fp32, Quantised


def quantised_torchao(fp32: Fp32, _folder: Path) -> Quantised:
    """Return a copy whose linear maps have 8-bit weights, and activations that are rounded to 8 bits a token."""
    import torchao
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    network = copy.deepcopy(fp32.model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_(network, Int8DynamicActivationInt8WeightConfig())
    return Quantised(network, fp32.model, None, stored_bytes(network), f"torchao {torchao.__version__}")


def stored_bytes(network: nn.Module) -> int:
    """Return the bytes of all parameters; of an 8-bit one those of its integers, scales and zero points."""
    total = 0
    for parameter in network.parameters():
        parts = [part for part in vars(parameter).values() if hasattr(part, "nbytes")]
        parts = parts if hasattr(parameter, "qdata") else [parameter]
        total += sum(int(part.nbytes) for part in parts)
    return total
