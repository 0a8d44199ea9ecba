"""The command `prunefront cluster`."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import err, print_as_is, print_json
from pipeline.cli.shared_options import with_options_of
from pipeline.driver.search.request import Search

_NODES, _PLACE = "Its nodes", "Where it runs"
NAME_LENGTH = 47  # of a Kubernetes object, with room for what KubeRay adds


@with_options_of(Search)
def cluster(
    request: Search,
    *,
    form: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="job, kuberay, autoscaler, slurm, compose, skypilot or dockerfile."
        ),
    ],
    study: Annotated[
        str | None,
        typer.Argument(help="A study of the store to go on with. [dim]Default: a study by the options[/]"),
    ] = None,
    nodes: Annotated[
        int, typer.Option(help="Worker nodes; the head is one more.", rich_help_panel=_NODES)
    ] = 2,
    node_cpus: Annotated[int, typer.Option(help="Cores of each.", rich_help_panel=_NODES)] = 8,
    node_gpus: Annotated[int, typer.Option(help="GPUs of each.", rich_help_panel=_NODES)] = 0,
    node_memory: Annotated[int, typer.Option(help="GB of each.", rich_help_panel=_NODES)] = 32,
    spot: Annotated[
        bool,
        typer.Option(
            "--spot", help="Workers may be spot nodes: trials go on elsewhere.", rich_help_panel=_NODES
        ),
    ] = False,
    image: Annotated[
        str, typer.Option(help="Image that `dockerfile` builds.", rich_help_panel=_NODES)
    ] = "prunefront:latest",
    shared_store: Annotated[
        bool,
        typer.Option("--shared-store", help="All nodes share the store's folder.", rich_help_panel=_PLACE),
    ] = False,
    claim: Annotated[
        str | None,
        typer.Option(
            help="kuberay: the PersistentVolumeClaim that is the store's folder.", rich_help_panel=_PLACE
        ),
    ] = None,
    secret: Annotated[
        str, typer.Option(help="kuberay: the Secret with passwords and Ray's token.", rich_help_panel=_PLACE)
    ] = "prunefront",
    namespace: Annotated[str | None, typer.Option(help="kuberay: namespace.", rich_help_panel=_PLACE)] = None,
    partition: Annotated[str | None, typer.Option(help="slurm: partition.", rich_help_panel=_PLACE)] = None,
    time: Annotated[str | None, typer.Option(help="slurm: [days-]HH:MM:SS.", rich_help_panel=_PLACE)] = None,
    region: Annotated[
        str, typer.Option(help="autoscaler: region of AWS.", rich_help_panel=_PLACE)
    ] = "us-west-2",
    instance: Annotated[
        str, typer.Option(help="autoscaler: AWS instance type of workers.", rich_help_panel=_PLACE)
    ] = "m5.2xlarge",
    accelerator: Annotated[
        str | None, typer.Option(help="skypilot: name of the GPUs, such as L4.", rich_help_panel=_PLACE)
    ] = None,
    dashboard: Annotated[
        str, typer.Option(help="job: address of the cluster's dashboard.", rich_help_panel=_PLACE)
    ] = "http://127.0.0.1:8265",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout: kind, name, text, notes.")
    ] = False,
) -> None:
    """Print what launches a search on a cluster: a command, a manifest, or the image that they need.

    Takes the options of `search`. Secrets are named, never printed; Ray's token authentication is on.
    """
    from pipeline.driver.cluster import Launch, Nodes, manifest, search_of

    search = request if study is None else search_of(study, request)
    launch = Launch(
        search=search,
        name=_job_name(search),
        nodes=Nodes(nodes, node_cpus, node_gpus, node_memory, spot),
        image=image,
        shared_store=shared_store,
        volume_claim=claim,
        secret=secret,
        namespace=namespace,
        partition=partition,
        time=time,
        region=region,
        instance=instance,
        accelerator=accelerator,
        dashboard=dashboard,
        endpoint=os.environ.get("AWS_ENDPOINT_URL"),
    )
    made = manifest(form, launch)
    if as_json:
        print_json(asdict(made))
        return
    print_as_is(made.text.removesuffix("\n"))
    for note in made.notes:
        err.print(note, style="dim", markup=False, soft_wrap=True)


def _job_name(search: Search) -> str:
    """Return the study's name, or the one that it will have, in letters that Kubernetes accepts."""
    parts = (Path(search.task).stem, Path(search.model).name, search.method)
    name = re.sub(r"[^a-z0-9]+", "-", (search.name or "-".join(parts)).lower()).strip("-")
    return name[:NAME_LENGTH].rstrip("-") or "prunefront"
