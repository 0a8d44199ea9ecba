"""A point of a front -> a network: its weights again, fresh trainings that confirm it, a folder that others load.

`network` makes a point's network, `reopen` a study's inputs again, `confirm` trains points on fresh seeds,
`checkpoint` writes and loads the folder, `export` is the whole way with card, ONNX, MLflow and hub. Import from
the rooms; this file imports nothing.
"""
