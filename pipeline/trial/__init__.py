"""Parameters -> record: one trial, trained, ranked, cut, recovered and measured.

`trial` is the story of a trial, `training` the loop it runs, `curve` the networks that one ranking gives,
`distillation` the dense network's help, `latency` the times of blocks, `measure` what is counted, `anchors` the
constant and dense predictions, `replay` a trial run again. Import from the rooms; this file imports nothing.
"""
