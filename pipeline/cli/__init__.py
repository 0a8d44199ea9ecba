"""The commands: options in, text or JSON out. No logic lives here; this file imports nothing.

`app` has the table of commands and the exit codes, one file holds one command, `output` writes to stdout and stderr.
"""
