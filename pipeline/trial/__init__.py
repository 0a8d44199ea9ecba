"""Parameters -> record: one trial, trained, ranked, cut, recovered and measured.

`trial` runs a trial from top to bottom on the operations of `run`; `training` is the loop, `curve` the networks of one
ranking, `distillation` learning from the dense network, `latency` the times of blocks, `measure` evaluation and size,
`anchors` the constant and the dense predictions, `replay` a trial run again.
"""
