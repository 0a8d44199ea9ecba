"""What a network of images reads: their shape, the tokens that it makes of one, and its image processor."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.model.folder import PROCESSOR
from pipeline.model.silence import quiet
from pipeline.study.records import BadInput

IMAGES = "pixel_values"  # main_input_name of such a network's class


def image_shape(config: Any) -> tuple[int, int, int]:
    """Return channels, height and width of a configuration's images."""
    height, width = _pair(config.image_size)
    return int(config.num_channels), height, width


def image_tokens(config: Any) -> int:
    """Return the tokens of an image: a class, registers where there are any, and patches."""
    (_, height, width), (down, across) = image_shape(config), _pair(config.patch_size)
    return 1 + int(getattr(config, "num_register_tokens", 0)) + (height // down) * (width // across)


def _pair(size: int | Iterable[int]) -> tuple[int, int]:
    """Return (height, width) of a size that is a number or both."""
    height, width = size if isinstance(size, Iterable) else (size, size)
    return int(height), int(width)


@dataclass(frozen=True, eq=False)
class ImageReader:
    """An image processor of the library: what stands in a tokenizer's place.

    A network reads `pixels` · scale, less the mean, over the deviation, channel by channel.
    """

    processor: Any
    shape: tuple[int, int, int]  # channels, height, width
    tokens: int

    @property
    def scale(self) -> float:
        """What a pixel's byte is multiplied by."""
        return float(self.processor.rescale_factor) if self.processor.do_rescale else 1.0

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel."""
        return self._channels(self.processor.image_mean, 0.0)

    @property
    def deviation(self) -> tuple[float, ...]:
        """Of each channel."""
        return self._channels(self.processor.image_std, 1.0)

    @property
    def key(self) -> str:
        """The sha256 of all that decides on pixels."""
        return hashlib.sha256(self.processor.to_json_string().encode()).hexdigest()

    @classmethod
    def of(cls, processor: Any, config: Any) -> ImageReader:
        """Return the reader of an image processor for a network of a configuration."""
        return cls(processor, image_shape(config), image_tokens(config))

    def pixels(self, images: Sequence[Any]) -> npt.NDArray[np.uint8]:
        """Return images, as Pillow has them, at the network's size: [n, C · H · W]."""
        found = self.processor(images=list(images), do_rescale=False, do_normalize=False, return_tensors="np")
        values = np.asarray(found[IMAGES])
        pixels: npt.NDArray[np.uint8] = np.rint(values).clip(0, 255).astype(np.uint8)
        return pixels.reshape(len(values), -1)

    def _channels(self, values: float | Sequence[float], default: float) -> tuple[float, ...]:
        if not self.processor.do_normalize:
            return (default,) * self.shape[0]
        each = tuple(values) if isinstance(values, Iterable) else (values,) * self.shape[0]
        return tuple(map(float, each[: self.shape[0]]))


def read_processor(name: str, folder: Any, config: Any) -> ImageReader:
    """Return the image processor of a folder, for a network of this configuration.

    Raises:
        BadInput: it makes images of another size than the network reads.
    """
    from PIL import Image
    from transformers import AutoImageProcessor

    classes: Any = AutoImageProcessor  # without types
    with quiet():  # that torchvision is not there
        processor = classes.from_pretrained(folder, trust_remote_code=False)
    shape = image_shape(config)
    reader = ImageReader.of(processor, config)
    blank = Image.new("RGB" if shape[0] == 3 else "L", (shape[2] + 1, shape[1] + 2))
    made = np.asarray(processor(images=[blank], return_tensors="np")[IMAGES]).shape[1:]
    if tuple(made) != shape:
        raise BadInput(
            f"The image processor of {name} makes {_sizes(tuple(made))}, and its network reads "
            f"{_sizes(shape)}. Correct {PROCESSOR}."
        )
    return reader


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) + " (channels, height, width)"
