"""A sweep after it was started: how far it is, what is missing, ending it, and its results in one place."""
