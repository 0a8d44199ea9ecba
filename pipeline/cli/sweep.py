"""The command `prunefront sweep`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.compare import comparison_as_json, print_comparison
from pipeline.cli.output import err, log, out, print_json, styled
from pipeline.cli.shared_options import with_options_of
from pipeline.cli.show import front_as_json
from pipeline.driver.search.request import USUAL, Search
from pipeline.fronts.at_size import at_size
from pipeline.fronts.front import Front
from pipeline.study.records import BadInput
from pipeline.study.store import is_object_store

PAGE = "sweep.html"


@with_options_of(Search)
def sweep(
    request: Search,
    *,
    tasks: Annotated[
        list[str] | None, typer.Option(help="Tasks: A B C, each as for --task.", rich_help_panel=USUAL)
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option(help="Models: A B C, each as for --model.", rich_help_panel=USUAL)
    ] = None,
    methods: Annotated[
        list[str] | None, typer.Option(help="Methods: A B C, each as for --method.", rich_help_panel=USUAL)
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds of each.", rich_help_panel=USUAL)] = 1,
    html: Annotated[
        Path | None, typer.Option(help=f"The page at the end. [dim]Default: {PAGE} in the store[/]")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Run many studies on one Ray: tasks × models × methods × seeds; then compare them, and write a page.

    The same command after an interruption goes on; no trial is done twice.
    """
    from pipeline.driver.search.early import check_early
    from pipeline.driver.search.grid import requests_of

    requests = requests_of(
        request, tasks=tasks or (), models=models or (), methods=methods or (), seeds=seeds
    )
    for each in requests:
        check_early(each)  # before torch is imported
    from pipeline.cli.progress import watch
    from pipeline.driver.search.sweep import run_sweep
    from pipeline.fronts.report import check_places, report

    if html is not None:
        check_places(html)
    with watch(quiet=quiet) as watcher:
        fronts = run_sweep(requests, watcher)
    page = html
    if page is None and not is_object_store(request.store):
        page = request.store / PAGE
    written = report(request.store, [found.spec.name for found in fronts], html=page)
    compared, remarks = _compared(request.store, fronts)
    for remark in (*written.remarks, *remarks):
        err.print(remark, style="yellow", soft_wrap=True)
    if as_json:
        print_json(
            {
                "studies": [front_as_json(found) for found in fronts],
                "comparisons": {task: comparison_as_json(*found) for task, found in compared.items()},
                "at_size": [asdict(row) for row in at_size(fronts)],
                "page": None if page is None else str(page),
            }
        )
        return
    for task, found in compared.items():
        out.print(styled("\n[bold]{task}[/]", task=task))
        print_comparison(*found)
    for row in at_size(fronts):
        out.print(row.sentence, markup=False, soft_wrap=True)
    log(f"{len(fronts)} of {len(requests)} studies." + (f" Wrote {page}." if page is not None else ""))


def _compared(store: Path, fronts: tuple[Front, ...]) -> tuple[dict[str, Any], list[str]]:
    """Return the comparison and its sentences by task, and why a task has none."""
    from pipeline.fronts.compare import compare, gather, sentences

    by_task: defaultdict[str, list[str]] = defaultdict(list)
    for found in fronts:
        by_task[found.spec.task].append(found.spec.name)
    compared, remarks = {}, []
    for task, names in by_task.items():
        try:
            comparison = compare(gather(store, names, across_models=True))
        except BadInput as reason:
            remarks.append(f"{task}: {reason}")
            continue
        compared[task] = (comparison, sentences(comparison))
    return compared, remarks
