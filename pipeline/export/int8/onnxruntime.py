"""8-bit networks of onnxruntime: dynamic, and static with calibration.

Weights are signed, symmetric, with a scale for each output channel; activations unsigned, with a zero point. Only
products with weights and the tables of embeddings are 8-bit; softmax, LayerNorm and the products inside attention
stay in fp32. https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.export.int8.quantised import Fp32, Quantised
from pipeline.export.onnx import OnnxNetwork, arrays, input_names, open_session
from pipeline.task.batches import Split, encoder_inputs

FILE = "model.int8.onnx"
PRODUCTS = ["MatMul", "Gemm", "Gather"]  # Gather: the tables of embeddings
CALIBRATION_ROWS, CALIBRATION_BATCH = 256, 8
CALIBRATION_SEED = 0
# Optimisations of the graph: extended ones join products with their quantisation, which a static network needs (7
# times as fast); to a dynamic one they do more harm than good, as to one in fp32.
DYNAMIC, STATIC = "basic", "extended"


def quantised_dynamic(fp32: Fp32, folder: Path) -> Quantised:
    """Write weights in 8 bits; the range of activations is read from each batch while the network runs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / FILE
    with _quiet():
        quantize_dynamic(
            _onnx(fp32),
            path,
            op_types_to_quantize=PRODUCTS,
            per_channel=True,
            reduce_range=not has_vnni(),
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    return _opened(fp32, path, DYNAMIC)


def quantised_static(fp32: Fp32, folder: Path) -> Quantised:
    """Write weights in 8 bits, and the range of every activation, as it is on CALIBRATION_ROWS training rows."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    path = folder / FILE
    with _quiet():
        quantize_static(
            _onnx(fp32),
            path,
            _reader(fp32),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=PRODUCTS,
            per_channel=True,
            reduce_range=not has_vnni(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"MatMulConstBOnly": True},
        )
    return _opened(fp32, path, STATIC)


def has_vnni() -> bool:
    """Return whether this CPU adds 8-bit products without overflow; others need weights of 7 bits.

    Without it x86's 8-bit products saturate at 16 bits. (ARM has its own instruction, and no such fault.)
    """
    known = getattr(torch.cpu, "_is_vnni_supported", None)
    return bool(known()) if known is not None and torch.cpu._is_avx2_supported() else True


def calibration_rows(rows: Split) -> Iterator[np.ndarray]:
    """Return batches of row numbers: CALIBRATION_ROWS rows drawn without replacement, of similar length in a batch."""
    drawn = np.random.default_rng(CALIBRATION_SEED).permutation(len(rows))[:CALIBRATION_ROWS]
    ordered = drawn[np.argsort(rows.lengths[drawn], kind="stable")]
    for start in range(0, len(ordered), CALIBRATION_BATCH):
        yield ordered[start : start + CALIBRATION_BATCH]


def _reader(fp32: Fp32) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    names = input_names(fp32.model)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Batches of training rows, as onnxruntime asks for them."""

        def __init__(self) -> None:
            self.batches = calibration_rows(fp32.train)

        def get_next(self) -> dict[str, np.ndarray] | None:
            """Return the next batch; None at the end."""
            rows = next(self.batches, None)
            if rows is None:
                return None
            return arrays(encoder_inputs(fp32.train.collate(rows)), names)

    return Reader()


def _opened(fp32: Fp32, path: Path, optimisation: str) -> Quantised:
    import onnxruntime

    return Quantised(
        network=OnnxNetwork(
            open_session(path, threads=fp32.threads, optimisation=optimisation), fp32.model.config
        ),
        fp32=OnnxNetwork(open_session(_onnx(fp32), threads=fp32.threads), fp32.model.config),
        file=path,
        size_bytes=path.stat().st_size,
        engine=f"onnxruntime {onnxruntime.__version__}",
    )


def _onnx(fp32: Fp32) -> Path:
    assert fp32.onnx is not None
    return fp32.onnx


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser, which logs advice to run its own preparation; torch's exporter has done that."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
