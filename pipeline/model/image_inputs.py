"""What a network of images reads: their shape, and the tokens that it makes of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
