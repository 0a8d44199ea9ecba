"""What a network of images reads: pixels as its image processor makes them, and as many tokens as it makes itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from PIL import Image

from pipeline.model.anatomy import encoder_layers
from pipeline.model.builtin import tiny_vit
from pipeline.model.image_inputs import image_shape, image_tokens, read_processor
from pipeline.study.records import BadInput
from pipeline.task.images import ImageSplit
from pipeline.trial.conformance.networks import tiny_batch, tiny_network


def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for h, w in ((9, 7), (12, 12), (30, 11))
    ]


@pytest.mark.parametrize("kind", ["vit", "dinov3_vit"])
def test_tokens_are_those_of_the_network(kind: str) -> None:
    model, _ = tiny_network(kind)
    seen: list[int] = []
    encoder_layers(model, kind)[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    with torch.no_grad():
        model(pixel_values=tiny_batch(kind)["pixel_values"])
    assert seen == [image_tokens(model.config)]


@pytest.mark.parametrize(
    "changes", [{}, {"do_rescale": False}, {"do_normalize": False}, {"image_std": [0.2, 0.3, 0.4]}]
)
def test_batches_are_what_the_processor_makes(tmp_path: Path, changes: dict[str, object]) -> None:
    processor = transformers.ViTImageProcessor(
        size={"height": 12, "width": 12}, image_mean=[0.1, 0.5, 0.9], **changes
    )
    processor.save_pretrained(tmp_path)
    config = transformers.ViTConfig(image_size=12, patch_size=4)
    reader = read_processor("mine", tmp_path, config)
    pixels = reader.pixels(images())
    assert pixels.dtype == np.uint8
    column = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 3 * 12 * 12)
    table = pa.table({"id": ["a", "b", "c"], "pixels": column, "label": [0, 1, 2]})
    rows = ImageSplit(table, 0, reader.shape, reader.mean, reader.deviation, reader.scale, reader.tokens)
    expected = torch.from_numpy(processor(images=images(), return_tensors="np")["pixel_values"])
    found = rows.take(np.array([2, 0, 1])).collate(np.array([1, 2, 0]))
    torch.testing.assert_close(found["pixel_values"], expected.float(), rtol=1e-5, atol=1e-5)
    assert found["labels"].tolist() == [0, 1, 2]
    assert rows.lengths.tolist() == [reader.tokens] * 3 == [10] * 3
    assert rows.with_labels(np.array([5, 6, 7])).collate(np.array([1]))["labels"].tolist() == [6]


def test_a_processor_of_another_size_is_refused(tmp_path: Path) -> None:
    transformers.ViTImageProcessor(size={"height": 12, "width": 8}).save_pretrained(tmp_path)
    with pytest.raises(
        BadInput, match=r"processor of mine makes 3 x 12 x 8 .*, and its network reads 3 x 16 x 16"
    ):
        read_processor("mine", tmp_path, transformers.ViTConfig(image_size=16, patch_size=4))


@pytest.mark.parametrize(("sides", "side"), [([8, 8, 8], 8), ([5, 9, 17], 16), ([300, 200], 32), ([], 32)])
def test_the_built_in_model_has_sixteen_patches(sides: list[int], side: int) -> None:
    config, reader = tiny_vit(sides, {"num_labels": 4})
    assert image_shape(config) == (3, side, side)
    assert image_tokens(config) == 17
    assert dict(reader.processor.size) == {"height": side, "width": side}
    assert config.num_labels == 4
