"""HEAR benchmark experiments: how good is an audio embedding model?"""

__version__ = "0.1.0"
