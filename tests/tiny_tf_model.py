"""A HEAR API module of TensorFlow's for tests: a matrix product of frames of 50 ms.

TINY_MEMORY clips fit into memory.
"""

import os

import tensorflow as tf

SAMPLE_RATE, SIZE, DIM = 16000, 800, 8


class TinyModule(tf.Module):
    def __init__(self, scale: float):
        super().__init__()
        self.sample_rate = SAMPLE_RATE
        self.scene_embedding_size = self.timestamp_embedding_size = DIM
        grid = tf.reshape(tf.range(SIZE * DIM, dtype=tf.float32), (SIZE, DIM))
        self.weight = tf.Variable(tf.sin(grid) * scale)

    def __call__(self, audio):
        padded = tf.pad(audio, ((0, 0), (SIZE // 2, SIZE // 2)))
        return tf.abs(tf.signal.frame(padded, SIZE, SIZE) @ self.weight)


def load_model(model_file_path: str = "", scale: float = 1.0) -> TinyModule:
    return TinyModule(float(open(model_file_path).read()) if model_file_path else scale)


def get_scene_embeddings(audio, model):
    return tf.reduce_mean(_embed(audio, model), axis=1)


def get_timestamp_embeddings(audio, model):
    embeddings = _embed(audio, model)
    times = tf.range(embeddings.shape[1], dtype=tf.float64) * SIZE * 1000 / SAMPLE_RATE
    return embeddings, tf.tile(times[None], (audio.shape[0], 1))


def _embed(audio, model):
    assert tf.is_tensor(audio)
    assert audio.dtype == tf.float32
    if audio.shape[0] > int(os.environ.get("TINY_MEMORY", "1000000")):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    return model(audio)
