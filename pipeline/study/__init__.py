"""What is searched and what is known: spaces, the ledger of trials, their records, and the store that keeps them.

`space` turns a TOML file into distributions, `ledger` hands out parameters and keeps how each trial ended,
`records` are the dataclasses that travel between wings, `store` is the folder or bucket that keeps them.
`pareto`, `metrics`, `halving` and `provenance` are single rules of the study. Nothing here loads torch, ray or
mlflow: reading results must be quick. Import from the rooms; this file imports nothing.
"""
