"""What the model card says of other engines."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.export.engines.engine import ENGINES
from pipeline.export.engines.making import EngineNetwork
from pipeline.export.in_turns import speed_in_card


def card_section(
    networks: Sequence[EngineNetwork], *, outputs: tuple[str, ...], given: str, axes: str
) -> str:
    """Return the card's section.

    Args:
        networks: at least one.
        outputs: the network's, by name.
        given: Python that makes its inputs, as numpy's arrays.
        axes: which axes of an input are free.
    """
    benches = [time.bench for time in networks[0].times]
    head = [
        "engine",
        "file",
        "outputs differ by at most",
        *(f"{b.batch} × {b.length} tokens" for b in benches),
    ]
    rows = [head, ["---"] * len(head)] + [
        [
            each.engine,
            f"`{each.file}`",
            f"{each.difference:.1g}",
            *(speed_in_card(time, "PyTorch") for time in each.times),
        ]
        for each in networks
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    loading = "\n\n".join(
        f"```python\n{ENGINES[each.name].loading(outputs, given)}\n```" for each in networks
    )
    return (
        f"## In other engines\n\n{table}\n\nEach has {axes}. Latency is on {benches[0].device}, {benches[0].threads} "
        f"thread(s), in fp32, in turns with this network in PyTorch.\n\n{loading}"
    )
