"""Studies side by side: over seeds, and which differences are real."""

from __future__ import annotations

from pipeline.fronts.compare import GAINS, Comparison, Panel, comparison_figures
from pipeline.fronts.report.markup import Block, Picture, Section, table
from pipeline.fronts.report.words import ends, short


def compared_section(comparison: Comparison) -> Section:
    """Both figures, and both tables: on test rows if all studies were confirmed, else on validation rows."""
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
            worth.label,
            len(worth.seeds),
            f"{worth.hypervolume:.4f}",
            f"{100 * worth.hypervolume_normalised.mean:.1f} %",
            *(
                f"{at:.4f}" if lost < at.count else "no network so small"
                for at, lost in zip(worth.metric_at, worth.without, strict=True)
            ),
        ]
        for worth in panel.worths
    ]
    head = [
        "study",
        "seeds",
        "hypervolume",
        "of possible",
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
            "yes" if test.real else "no",
            *([ends(test.rows.low, test.rows.high) if test.rows else "–"] if resampled else []),
        ]
        for test in panel.tests
    ]
    head = ["pair", "of", "difference", "95 % interval", "p, corrected", "real"]
    head += ["on resampled rows"] if resampled else []
    return table(
        "Differences (the first minus the second); real = called after Holm's correction", head, rows
    )
