"""Search spaces: TOML files with bounds, conditions and sources -> Optuna's distributions."""

from pipeline.study.space.cut_keys import ALLOCATION_KEYS, TRIAL_KEYS
from pipeline.study.space.document import read_document
from pipeline.study.space.files import known_methods, packaged_methods, shown_keys
from pipeline.study.space.space import FROM_SCRATCH, Space, load_space, parse_space

__all__ = [
    "ALLOCATION_KEYS",
    "FROM_SCRATCH",
    "TRIAL_KEYS",
    "Space",
    "known_methods",
    "load_space",
    "packaged_methods",
    "parse_space",
    "read_document",
    "shown_keys",
]
