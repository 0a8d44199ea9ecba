"""What `--help` of each command ends with: commands to copy."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": (
        "prunefront init reviews.csv",
        "prunefront init reviews.csv --text review --label topic --to task.toml",
        "prunefront init ner.jsonl --kind tokens",
    ),
    "methods": ("prunefront methods", "prunefront methods fisher"),
    "search": (
        "prunefront search",
        "prunefront search --data reviews.csv --text review --label topic --model distilbert-base-uncased",
        "prunefront search --task glue/sst2 --model bert-base-uncased --method obs --trials 16 --minutes 120",
    ),
    "sweep": (
        "prunefront sweep --tasks a.toml b.toml --methods snip fisher obs --seeds 3 --model bert-base-uncased",
        "prunefront sweep --data reviews.csv --models bert-base-uncased distilbert-base-uncased",
    ),
    "plan": ("prunefront plan --data reviews.csv --model bert-base-uncased --trials 16",),
    "cluster": ("prunefront cluster dockerfile", "prunefront cluster slurm --data reviews.csv --nodes 4"),
    "show": ("prunefront show reviews-distilbert-snip", "prunefront show reviews-distilbert-snip --json"),
    "best": (
        "prunefront best reviews-distilbert-snip --max-drop 0.01",
        "prunefront best --task reviews --max-mb 60",
    ),
    "confirm": ("prunefront confirm reviews-distilbert-snip --points 3 --seeds 3",),
    "compare": (
        "prunefront compare --task reviews",
        "prunefront compare reviews-snip reviews-fisher --html compare.html",
    ),
    "report": ("prunefront report reviews-snip --html report.html",),
    "dashboard": ("prunefront dashboard", "prunefront dashboard reviews-snip --port 8800 --browser"),
    "studies": ("prunefront studies", "prunefront studies --sync --tracking http://mlflow:5000"),
    "export": (
        "prunefront export reviews-snip --max-drop 0.01 --to ./small",
        "prunefront export reviews-snip --point 3 --to ./small --onnx --int8",
    ),
    "fit-pruner": ("prunefront fit-pruner --model bert-base-uncased --task a.toml --task b.toml",),
}


def epilog(name: str) -> str:
    """Return the examples of a command, for the end of its help."""
    lines = [f"[cyan]{line}[/]" for line in EXAMPLES[name]]
    return "\n\n".join(["[bold]Examples[/]", *lines])
