"""Eval mode for a while: every module is given back the mode that it had."""

import pytest
from torch import nn

from pipeline.model.eval_mode import evaluating


@pytest.fixture
def network() -> nn.Sequential:
    """A network in training, one of whose modules is frozen in eval mode."""
    network = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2))).train()
    network[1][0].eval()
    return network


def test_each_module_has_its_own_mode_again(network: nn.Sequential) -> None:
    with evaluating(network):
        assert not any(module.training for module in network.modules())
    assert [module.training for module in network.modules()] == [True, True, True, False, True]


def test_also_after_an_error(network: nn.Sequential) -> None:
    with pytest.raises(ValueError, match="broken"), evaluating(network):
        raise ValueError("broken")
    assert [module.training for module in network.modules()] == [True, True, True, False, True]
