"""Studies side by side: over seeds, and which differences are significant."""

from __future__ import annotations

from pipeline.fronts.compare import GAINS, Comparison, Panel, comparison_figures
from pipeline.fronts.numbers import ends, short, volume
from pipeline.fronts.report.markup import Block, Picture, Section, table


def compared_section(comparison: Comparison) -> Section:
    """Return both figures and both tables: on test rows if all studies were confirmed, else on validation rows."""
    bands, volumes = comparison_figures(comparison)
    panel = comparison.test or comparison.validation
    blocks: tuple[Block, ...] = (
        Picture("bands", "Fronts over seeds", bands, "The median front of each group, and its band."),
        Picture("volumes", "Hypervolume", volumes, "Means with 95 % intervals; the table below has them."),
        _means(panel, metric=comparison.groups[0].spec.metric_name),
        _differences(panel),
    )
    return Section("compared", "Compared", blocks)


def _means(panel: Panel, *, metric: str) -> Block:
    rows = [
        [
            quality.label,
            len(quality.seeds),
            f"{quality.hypervolume:.4f}",
            volume(quality.hypervolume_normalised.mean),
            *(
                f"{at:.4f}" if lost < at.count else "no network so small"
                for at, lost in zip(quality.metric_at, quality.without, strict=True)
            ),
        ]
        for quality in panel.qualities
    ]
    head = [
        "study",
        "seeds",
        "hypervolume",
        "normalised",
        *(f"{metric} at {100 * gain:.0f} %" for gain in GAINS),
    ]
    return table(f"Means over seeds with 95 % intervals, on {panel.rows} rows", head, rows)


def _differences(panel: Panel) -> Block:
    resampled = panel.rows == "test"
    rows = [
        [
            f"{test.first} − {test.second}",
            test.quantity,
            f"{test.difference.mean:+.4f}",
            ends(test.difference.low, test.difference.high),
            short(test.corrected),
            "yes" if test.significant else "no",
            *([ends(test.rows.low, test.rows.high) if test.rows else "–"] if resampled else []),
        ]
        for test in panel.tests
    ]
    head = ["pair", "of", "difference", "95 % interval", "p, corrected", "significant"]
    head += ["on resampled rows"] if resampled else []
    return table(
        "Differences (the first minus the second), significant at 5 % after Holm's correction", head, rows
    )
