"""A search, from its options to its front. Import from the files; this one imports nothing.

`request` has the options, `grid` those of a sweep, `api` is `pipeline.search`, `early` refuses what is mistyped and
`check` what needs no data, `resolved` reads task and model, `inputs`, `dense` and `spec` prepare a study, `run` runs
it, `seeds` runs several, `study_queue` gives trials and takes their ends, `watcher` shows them, `budget` ends a study,
`latency` times networks.
"""
