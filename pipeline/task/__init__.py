"""A task's name or file -> its rows, tokenised and batched, and the loss they are trained on.

`loading` reads GLUE, hub data sets, local files and the built-in corpus; `carve` parts validation from train;
`batches` collates rows, `losses` has the task's loss. Import from the rooms; this file imports nothing.
"""
