"""Does a model keep the HEAR API, and well? ``python -m hear_exp.validate``."""
