"""A search, from its options to its front. Import from the files; this one imports nothing.

`request` has the options, `api` is `pipeline.search`, `check` refuses what needs no data, `resolved` reads task and
model, `inputs`, `dense` and `spec` prepare a study, `run` runs it, `seeds` runs several, `study_queue` gives trials
and takes their ends, `watcher` shows them, `budget` ends a study, `latency` times networks.
"""
