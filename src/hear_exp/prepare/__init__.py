"""One's own recordings -> a task folder in HEAR's layout: ``python -m hear_exp.prepare``."""
