"""Exported folders: transformers 4.57 and 5 load them, and `prunefront.load` does without remote code."""

from pipeline.export.checkpoint.loading import load, load_tokenizer
from pipeline.export.checkpoint.plain import load_plain, why_not_plain, write_plain
from pipeline.export.checkpoint.sentence import write_sentence_files
from pipeline.export.checkpoint.whole import check_free, whole_folder
from pipeline.export.checkpoint.writing import (
    CODE,
    RECORD,
    WEIGHTS,
    add_entries,
    check_writable,
    layout,
    write_checkpoint,
    write_record,
)

__all__ = [
    "CODE",
    "RECORD",
    "WEIGHTS",
    "add_entries",
    "check_free",
    "check_writable",
    "layout",
    "load",
    "load_plain",
    "load_tokenizer",
    "whole_folder",
    "why_not_plain",
    "write_checkpoint",
    "write_plain",
    "write_record",
    "write_sentence_files",
]
