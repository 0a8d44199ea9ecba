"""The name that prunefront is imported by. Its code is in the package `pipeline`; the names here are the same objects.

from prunefront import load_front, pick, search
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pipeline
from pipeline import __version__ as __version__

if TYPE_CHECKING:
    from pipeline import *  # noqa: F403
    from pipeline.export.export import export as export

__all__ = ["export"]  # of `pipeline` that is a wing
__all__ += pipeline.__all__


def __getattr__(name: str) -> Any:
    """Return a public name of `pipeline`, which imports what it needs on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "export":
        from pipeline.export.export import export

        return export
    return getattr(pipeline, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
