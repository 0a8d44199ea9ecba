"""A cut network <-> a folder that transformers 4.57 and 5 load, and we load without remote code."""

from pipeline.checkpoint.loading import load, load_tokenizer
from pipeline.checkpoint.whole import whole_folder
from pipeline.checkpoint.writing import layout, write_checkpoint

__all__ = ["layout", "load", "load_tokenizer", "whole_folder", "write_checkpoint"]
