"""Our own encoders, each a module that keeps the HEAR common API and so loads in other HEAR tools too.

A file is a model (hf_audio: all those of transformers). What models share is in files whose names begin with _, what
hf_audio alone is made of in those that begin with _hf_.
"""
