"""Run a study: Ray executes its trials, the ledger says which are owed, MLflow is shown what came of them.

`search` is what `prunefront search` runs, `execute` the only door to ray, `tracking` the only door to mlflow,
`plan` prices a search beforehand, `cluster` writes manifests, `warm_start` takes starts from earlier studies.
Import from the rooms; this file imports nothing.
"""
