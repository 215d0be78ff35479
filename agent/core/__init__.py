"""Decides: told what happened and what time it is, answers what to do.

Synchronous and deterministic: no I/O, no clock, no chance, no logger. Files are listed in reading order in
``agent/README.md``, and a file imports only files above it.
"""
