"""Runs heareval's predictor stage for benchmarks/parity.py; executed by heareval's own Python, not by ours.

    PEER_PYTHON peer_driver.py EMBEDDING_FOLDER OUTPUT_FOLDER GRID_POINTS SEED
    PEER_PYTHON peer_driver.py EMBEDDING_FOLDER OUTPUT_FOLDER training EPOCHS

The first form writes OUTPUT_FOLDER/peer.json (scores, grid points, folds, labels, events, versions, seconds) and
peer.npz (targets of each split, probabilities of each test split). The second trains one predictor on the
first fold and writes OUTPUT_FOLDER/training.npz (initial weights in order, validation losses, test probabilities) and
training.json (its settings and best epoch). heareval writes beside the embeddings, so give it a copy.

heareval draws its grid points with seed 42 and trains on from there; here the same points are drawn and training
starts from SEED. heareval 2021.1.3 was written for older libraries, and with those that run on today's Python two
things go wrong and are mended here: torch.load refuses the whole checkpoints that it wrote itself, and Lightning does
not let heareval set the epoch before the test, which is how it means to find the best epoch's event postprocessing.
"""

import functools
import json
import logging
import random
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

PACKAGES = ("heareval", "torch", "pytorch-lightning", "scikit-learn", "sed_eval", "numpy")


def train_once(folder: Path, output: Path, epochs: int) -> None:
    torch.load = functools.partial(torch.load, weights_only=False)
    torch.set_num_threads(1)  # sums over rows depend on how many threads share them
    import pytorch_lightning as pl
    from heareval.predictions import task_predictions as peer

    arrays, losses = {}, []

    class Losses(pl.Callback):
        def on_fit_start(self, trainer, module):
            state = module.predictor.state_dict().values()
            arrays.update({f"weights.{i:02d}": tensor.numpy().copy() for i, tensor in enumerate(state)})

        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            torch.manual_seed(1000 * trainer.current_epoch + batch_idx)  # the same dropout here and there

        def on_validation_end(self, trainer, module):
            losses.append(float(trainer.callback_metrics["val_loss"]))

    trainer = pl.Trainer
    peer.pl.Trainer = lambda callbacks, **options: trainer(callbacks=[*callbacks, Losses()], **options)
    train = peer.task_predictions_train

    def train_the_first(**arguments):
        arguments["conf"] |= {"hidden_layers": 2, "lr": 1e-3, "max_epochs": epochs}
        result = train(**arguments)
        result.predictor.epoch_best_postprocessing_or_default = lambda epoch: result.postprocessing
        names = ("embedding_path", "metadata", "data_splits", "label_to_idx", "nlabels", "in_memory")
        peer.task_predictions_test(grid_point=result, **{name: arguments[name] for name in names})
        arrays["test"] = result.predictor.test_predictions["prediction"].numpy()
        conf = {k: getattr(v, "__name__", v) for k, v in arguments["conf"].items()}
        (output / "training.json").write_text(
            json.dumps({"conf": conf, "splits": arguments["data_splits"], "epoch": result.epoch})
        )
        np.savez(output / "training.npz", losses=losses, **arrays)
        raise SystemExit

    peer.task_predictions_train = train_the_first
    run(peer, folder, 1)


def run(peer, folder: Path, grid_points: int) -> None:
    task = json.loads((folder / "task_metadata.json").read_text())
    peer.task_predictions(
        embedding_path=folder,
        embedding_size=json.loads((folder / f"{task['splits'][0]}.embedding-dimensions.json").read_text())[1],
        grid_points=grid_points,
        gpus=None,
        in_memory=True,
        deterministic=True,
        grid="default",
        logger=logging.getLogger("peer"),
    )


def main(folder: Path, output: Path, grid_points: int, seed: int) -> None:
    torch.load = functools.partial(torch.load, weights_only=False)
    from heareval.predictions import task_predictions as peer

    task = json.loads((folder / "task_metadata.json").read_text())
    labels = peer.label_vocab_as_dict(peer.label_vocab_nlabels(folder)[0], key="label", value="idx")
    fits = []
    train, test = peer.task_predictions_train, peer.task_predictions_test

    def timed_train(**arguments):
        if not fits:
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
        result = train(**arguments)
        fits.append(
            {
                "conf": {k: getattr(v, "__name__", v) for k, v in arguments["conf"].items()},
                "test": arguments["data_splits"]["test"],
                "epoch": result.epoch,
                "validation_score": result.validation_score,
            }
        )
        return result

    arrays, events, postprocessing, scores = {}, {}, {}, {}

    def recorded_test(**arguments):
        (split,) = arguments["data_splits"]["test"]
        predictor, chosen = arguments["grid_point"].predictor, arguments["grid_point"].postprocessing
        predictor.epoch_best_postprocessing_or_default = lambda epoch: chosen
        result = test(**arguments)
        predictions = predictor.test_predictions
        arrays[f"{split}.probabilities"] = predictions["prediction"].numpy()
        postprocessing[split] = dict(chosen)
        events[split] = predictions.get("predicted_events", {})
        # Again, because what heareval writes has been through float32.
        if task["embedding_type"] == "event":
            compared = predictions["predicted_events"], predictions["target_events"]
        else:
            compared = predictions["prediction"].numpy(), predictions["target"].numpy()
        scores[split] = {str(score): score(*compared) for score in predictor.scores}
        return result

    peer.task_predictions_train, peer.task_predictions_test = timed_train, recorded_test
    started = time.perf_counter()
    run(peer, folder, grid_points)
    seconds = time.perf_counter() - started
    for split in task["splits"]:
        rows = peer.SplitMemmapDataset(folder, labels, len(labels), split, task["embedding_type"], False, False)
        arrays[f"{split}.targets"] = rows.y.numpy().astype(np.uint8)
    record = {
        "labels": labels,
        "folds": peer.get_splits_from_metadata(task),
        "fits": fits,
        "postprocessing": postprocessing,
        "events": events,
        "scores": scores,
        "reported": json.loads((folder / "test.predicted-scores.json").read_text()),
        "seconds": seconds,
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }
    np.savez_compressed(output / "peer.npz", **arrays)
    (output / "peer.json").write_text(json.dumps(record, indent=1, default=float))


if __name__ == "__main__":
    if sys.argv[3] == "training":
        train_once(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[4]))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
