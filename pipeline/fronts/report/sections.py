"""The sections of a report, from its summary to its provenance."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.fronts.compare import Comparison
from pipeline.fronts.report.compared import compared_section
from pipeline.fronts.report.front import front_section
from pipeline.fronts.report.markup import Block, Markup, Section, table, text
from pipeline.fronts.report.reading import StudyView, lines_of
from pipeline.fronts.report.study import study_section
from pipeline.fronts.report.summary import summary_section


def report_sections(views: Sequence[StudyView], comparison: Comparison | None) -> list[Section]:
    """Return the sections of a page about studies; with their comparison, if there is one."""
    several = len(views) > 1
    found = [summary_section(views, comparison)]
    if comparison is not None and several:  # seeds as bands come before the cloud of all their networks
        found.append(compared_section(comparison))
    found.append(front_section(views))
    found += [study_section(view, lines=lines_of(1 / len(views)), several=several) for view in views]
    found.append(_provenance(views))
    return found


def _provenance(views: Sequence[StudyView]) -> Section:
    blocks: list[Block] = []
    for view in views:
        spec, front = view.front.spec, view.front
        facts = {
            "task": spec.task,
            "rows (sha256)": spec.task_fingerprint,
            "validation rows": spec.validation_rows,
            "model": spec.model,
            "model (fingerprint)": spec.model_fingerprint,
            "method": spec.method,
            "distilled by": spec.distill,
            "sampler": spec.sampler,
            "seed": spec.seed,
            "precision": spec.precision,
            "objective": spec.objective,
            "dense metric": f"{spec.anchors.dense:.4f} ({spec.dense_origin})",
            "constant metric": f"{spec.anchors.constant:.4f}",
            "trained": f"{front.epochs:g} epochs, {front.seconds / 3600:.2f} hours",
            **view.provenance,
        }
        blocks.append(table(f"What made {spec.name}", ["what", "value"], list(facts.items())))
        blocks.append(
            Markup(
                f"<details><summary>What was searched in {text(spec.name)}</summary><pre>{text(spec.space_toml)}</pre>"
                "</details>"
            )
        )
    return Section("provenance", "Provenance", tuple(blocks), fold=True)
