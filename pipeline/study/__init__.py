"""Search spaces, the ledger of trials, trial records, and the store that holds them.

`space` turns a TOML file into distributions, `ledger` assigns parameters and keeps how each trial ended, `records`
are the dataclasses that pass between wings, `store` is the folder or bucket that holds them. `pareto`, `metrics`,
`halving`, `provenance`, `entry_points` and `whole_file` are single modules. Nothing here loads torch, ray or mlflow:
reading results must be quick. Import from the modules; this file imports nothing.
"""
