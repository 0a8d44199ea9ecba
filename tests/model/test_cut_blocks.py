"""A narrowed map is what its class would have made of that size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from pipeline.model.cut_blocks import narrowed

KEPT = torch.tensor([0, 2, 3])


class Named(nn.Linear):
    """Holds more than a linear map does."""

    kind = "none"


MAPS = {"linear": nn.Linear(4, 4), "without-bias": nn.Linear(4, 4, bias=False), "conv1d": Conv1D(4, 4)}


@pytest.mark.parametrize("side", ["in", "out"])
@pytest.mark.parametrize("name", sorted(MAPS))
def test_it_computes_some_of_the_outputs_or_from_some_of_the_inputs(name: str, side: str) -> None:
    whole: Any = MAPS[name].eval()
    found = narrowed(whole, KEPT, side)
    x = torch.randn(5, 4)
    if side == "out":
        torch.testing.assert_close(found(x), whole(x)[:, KEPT])
    else:
        kept = torch.zeros(4).index_fill(0, KEPT, 1.0)
        torch.testing.assert_close(found(x[:, KEPT]), whole(x * kept))
    sizes = (3, 4) if side == "in" else (4, 3)
    made = type(whole)(*(sizes if isinstance(whole, nn.Linear) else sizes[::-1]))
    assert repr(made).replace("bias=True", f"bias={whole.bias is not None}") == repr(found)
    assert vars(found).keys() == vars(made).keys()
    assert not found.training


def test_what_a_map_has_beside_its_weights_stays_and_its_hooks_go() -> None:
    whole = Named(4, 4)
    whole.kind = "gated"
    whole.weight.requires_grad_(False)
    whole.register_forward_hook(lambda *_: None)
    found = narrowed(whole, KEPT, "out")
    assert (type(found), found.kind, found.training) == (Named, "gated", True)
    assert (found.weight.requires_grad, found.bias.requires_grad) == (False, True)
    assert not found._forward_hooks
    assert len(whole._forward_hooks) == 1
    assert (whole.weight.shape, whole.out_features) == ((4, 4), 4)
