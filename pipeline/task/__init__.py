"""A task's name or file -> its rows, tokenised: GLUE, hub data sets, local files, the built-in corpus."""

from pipeline.task.loading import Task, load_task, open_test, tokenise, tokenise_test, train_texts

__all__ = ["Task", "load_task", "open_test", "tokenise", "tokenise_test", "train_texts"]
