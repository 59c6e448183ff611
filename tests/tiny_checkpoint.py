"""Small random networks of transformers' audio encoders, saved to a folder as their authors save theirs."""

import pytest
import torch

from hear_exp.models._hf_checkpoint import require_transformers

transformers = pytest.importorskip("transformers")
require_transformers()

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_length": 2,
    "mask_time_prob": 0.9,
    "layerdrop": 0.9,
}


def save(folder, kind="Wav2Vec2", do_normalize=True, **options):
    """Write a network of ``kind`` and its feature extractor to ``folder``; returns the folder's name."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **options})
    network = getattr(transformers, f"{kind}Model")(config)
    network.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return str(folder)
