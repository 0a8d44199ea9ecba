"""Measure a network: its metric on rows that it was not trained on, and its size.

Shapes: V rows, C outputs, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.model.anatomy import Anatomy, encoder_layers
from pipeline.model.eval_mode import evaluating
from pipeline.model.unstructured import matrices
from pipeline.study.records import Array, Measurement
from pipeline.study.store import LatencyTable
from pipeline.task.batches import Split, encoder_inputs
from pipeline.task.kinds import Kind
from pipeline.task.padded import alike
from pipeline.trial.evaluation_batches import evaluation_batches
from pipeline.trial.training.precision import autocast, gpu_kernels

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Rows of a batch. On a CPU small batches stay in its cache: 128 rows take 15 to 20 % longer (MiniLM, tiny-bert).
CPU_BATCH, ACCELERATOR_BATCH = 32, 256
BYTES_PER_PARAMETER = 4  # fp32
MEGABYTE = 10**6  # bytes


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A network's results on a split: mean loss, scores by name, and predictions [V, ...] as `Kind.judge` has them."""

    loss: float
    metrics: dict[str, float]
    predictions: Array


def evaluate(
    model: PreTrainedModel,
    split: Split,
    kind: Kind,
    *,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Evaluation:
    """Predict every row once, in eval mode, on the model's device; the training flag is restored.

    A network whose outputs are not finite has a NaN loss; its metrics are those of its predictions all the same.

    Args:
        model: with the head of the kind.
        split: V >= 1 rows.
        kind: of the task.
        batch_size: rows of a batch; None for one that is fast on the device. No result depends on it.
        precision: of training/precision.py.
    """
    judged = kind.judge(kept_outputs(model, split, kind, batch_size=batch_size, precision=precision), split)
    return Evaluation(judged.loss, kind.score(judged, split), judged.predictions)


def measure(
    model: PreTrainedModel,
    anatomy: Anatomy,
    evaluation: Evaluation,
    *,
    length: int,
    count_zeros: bool = False,
    latency: LatencyTable | None = None,
) -> Measurement:
    """Count what the network costs, on its real tensors, and join this with its evaluation.

    Args:
        model: dense or cut.
        anatomy: its own, as `read_anatomy` or `cut` returned it.
        evaluation: of this network.
        length: tokens of the row that MACs are counted for.
        count_zeros: whether single weights may have been set to zero, which takes a pass over them.
        latency: the study's table; None if it has none.
    """
    costs = anatomy.costs
    in_encoder = encoder_parameters(model, anatomy)
    in_model = sum(parameter.numel() for parameter in model.parameters())
    zeros = count_zeroed(anatomy) if count_zeros else 0
    return Measurement(
        metric=evaluation.metrics["metric"],
        metrics=dict(evaluation.metrics),
        compression=(costs.encoder - in_encoder) / costs.encoder,
        compression_total=(costs.model - in_model) / costs.model,
        parameters=in_model,
        encoder_parameters=in_encoder,
        macs=costs.macs(anatomy.present, length),
        size_mb=in_model * BYTES_PER_PARAMETER / MEGABYTE,
        latency_ms=None if latency is None else latency.predict(anatomy.present),
        dense_latency_ms=None if latency is None else latency.dense_ms,
        sparsity=zeros / costs.encoder,
        nonzero_parameters=in_model - zeros if count_zeros else None,
    )


@torch.no_grad()
def count_zeroed(anatomy: Anatomy) -> int:
    """Count the zeros in the matrices whose weights are ranked; biases that are still zero do not count.

    It waits for the device once.
    """
    counts = [weight.numel() - weight.count_nonzero() for weight in matrices(anatomy).values()]
    return int(torch.stack(counts).sum()) if counts else 0


def encoder_parameters(model: PreTrainedModel, anatomy: Anatomy) -> int:
    """Return the parameters of the present layers: counted on the tensors, not by a formula."""
    return sum(p.numel() for p in encoder_layers(model, anatomy.architecture).parameters())


def counted_macs(model: PreTrainedModel, anatomy: Anatomy, inputs: Mapping[str, Tensor]) -> int:
    """Count the multiply-accumulates of one forward pass in the encoder's layers, padding included.

    Matrix products are counted: projections, scores, context. Embeddings, pooler and head, biases, softmax, LayerNorm
    and activations are not; `Costs.macs` is the formula for the same number.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    layers = encoder_layers(model, anatomy.architecture)
    names = {module: name for name, module in model.named_modules()}
    # PyTorch counts the products of the MATH kernel, not the fused kernel for CPUs. Its counter needs gradients where
    # a module is called with a parameter.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(**inputs)
    by_module = counter.get_flop_counts()
    root = type(model).__name__
    flops = sum(sum(by_module.get(f"{root}.{names[layer]}", {}).values()) for layer in layers)
    return int(flops) // 2  # PyTorch counts a multiplication and an addition as two


def kept_outputs(
    model: PreTrainedModel,
    split: Split,
    kind: Kind,
    *,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Tensor:
    """Return what is kept of a network's outputs for all rows [R, ...], in fp32 on the CPU, in the split's order.

    What has an entry per token is padded with zeros to the longest row. It waits for the device once, at the end.
    """
    device = next(model.parameters()).device
    size = batch_size or (CPU_BATCH if device.type == "cpu" else ACCELERATOR_BATCH)
    outputs: list[Tensor] = []
    rows: list[Tensor] = []
    with (
        evaluating(model),
        torch.inference_mode(),
        gpu_kernels(device, precision),
        autocast(device, precision),
    ):
        for batch in evaluation_batches(
            split, size, device=device, precision=precision, model_type=model.config.model_type
        ):
            found = kind.outputs(model(**encoder_inputs(batch)), batch)
            outputs.append(kind.kept(found, batch))
            rows.append(batch["rows"])
    found = torch.cat(alike(outputs))
    ordered = torch.empty(found.shape)
    ordered[torch.cat(rows).cpu()] = found.cpu()
    return ordered
