"""A task embedded by a model, once: the HEAR API, the frameworks behind it, the cache, heareval's format."""
