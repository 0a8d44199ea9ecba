"""A pruning method in a package of your own: heads and neurons whose output weights are small go first.

The package names it in its pyproject.toml, and ships its space, output-norm.toml, beside this file:
    [project.entry-points."prunefront.methods"]
    output-norm = "add_a_method:OutputNorm"

`prunefront search --method output-norm` runs it; this file, run alone, checks it against the laws of all methods.
"""

from dataclasses import dataclass

import numpy as np

from prunefront import OneShot, Scores, check_method, matrix


@dataclass
class OutputNorm(OneShot):
    """Score a unit by the norm of its columns in the output projection; `order` is that of the norm."""

    order: float

    def score(self, model, anatomy, batches):
        heads = np.full((anatomy.dense_layers, anatomy.heads_per_layer), np.nan)  # NaN: the unit is gone
        neurons = np.full((anatomy.dense_layers, anatomy.neurons_per_layer), np.nan)
        for part in anatomy.layers:
            heads[part.index, part.heads] = self.norms(part.attention_output, len(part.heads))
            neurons[part.index, part.neurons] = self.norms(part.ffn_out, len(part.neurons))
        return Scores(heads=heads, neurons=neurons)

    def norms(self, linear, units):
        if units == 0:
            return []
        powers = matrix(linear).detach().double().abs().pow(self.order).sum(dim=0)  # of [out, in]
        return powers.reshape(units, -1).sum(dim=1).pow(1 / self.order).cpu().numpy()


if __name__ == "__main__":
    check_method("output-norm")
