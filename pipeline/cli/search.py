"""The command `prunefront search`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.called import called
from pipeline.cli.output import hint, print_json
from pipeline.cli.shared_options import with_options_of
from pipeline.cli.show import front_as_json, print_front
from pipeline.driver.search.request import HOW, Search
from pipeline.study.store import store_option


@with_options_of(Search)
def search(
    request: Search,
    *,
    seeds: Annotated[
        int,
        typer.Option(
            help="Number of seeds, one after the other; each is a study: -seedN.", rich_help_panel=HOW
        ),
    ] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout: the front.")] = False,
) -> None:
    """Search the settings of a pruning method for the front of a task's metric against compression.

    The same command after an interruption goes on with the study; no trial is done twice.
    """
    from pipeline.driver.search.early import check_early

    check_early(request)  # before torch is imported
    from pipeline.cli.progress import watch
    from pipeline.driver.search.seeds import run_seeds

    with watch(quiet=quiet) as watcher:
        fronts = run_seeds(request, watcher, seeds=seeds)
    if as_json:
        each = [front_as_json(found) for found in fronts]
        print_json(each[0] if seeds == 1 else {"studies": each})
        return
    for found in fronts:
        print_front(found, store=request.store, tracking=request.tracking)
    if len(fronts) > 1:
        names = " ".join(found.spec.name for found in fronts)
        hint("Over seeds:", f"{called()} compare {names}{store_option(request.store)}")
