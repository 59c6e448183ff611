"""Hydra's edge: from the command line to a job, and from a failure to a sentence."""
