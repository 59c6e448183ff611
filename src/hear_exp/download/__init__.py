"""HEAR's published tasks: fetch, verify, unpack: ``python -m hear_exp.download``."""
