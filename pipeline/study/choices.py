"""The names that options of a study may have, where their code imports torch or Optuna: for help and early refusals."""

from __future__ import annotations

SAMPLERS = ("tpe", "nsga2", "gp", "random")
PRECISIONS = ("auto", "bf16", "fp16", "tf32", "fp32")
COMPILE_OFF, COMPILE_AUTO = COMPILE = ("off", "auto")
