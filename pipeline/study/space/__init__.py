"""Search spaces: TOML files with bounds, conditions and sources -> Optuna's distributions."""

from pipeline.study.space.cut_keys import ALLOCATION_KEYS, TRIAL_KEYS
from pipeline.study.space.document import read_document
from pipeline.study.space.files import known_distillations, known_methods, packaged_methods, shown_keys
from pipeline.study.space.space import SECTIONS, Space, load_space, parse_space, sections_of

__all__ = [
    "ALLOCATION_KEYS",
    "SECTIONS",
    "TRIAL_KEYS",
    "Space",
    "known_distillations",
    "known_methods",
    "load_space",
    "packaged_methods",
    "parse_space",
    "read_document",
    "sections_of",
    "shown_keys",
]
