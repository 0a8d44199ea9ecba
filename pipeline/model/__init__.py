"""A model's name -> a network whose removable parts are mapped, held and cut.

`resolve` finds the model and freezes its commit, `source` holds its config, tokenizer and weights, `anatomy` maps
its units, `surgery` cuts them out, `unstructured` zeroes single weights. Import from the rooms; this file imports
nothing.
"""
