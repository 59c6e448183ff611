"""Makes a small event task and a small multilabel task, embedded, for benchmarks/parity.py.

    python benchmarks/parity_tasks.py OUT

writes OUT/mel/demo_events and OUT/mel/demo_tags in heareval's format: two of our generated demo tasks, embedded with
mel_model.py, their metadata pinned to short fits so that five seeds of heareval take minutes.
"""

import json
import shutil
import sys
from pathlib import Path

from hear_exp.embeddings.embed import embed_task
from hear_exp.embeddings.encoder import Encoder, Model
from hear_exp.export_heareval import write_heareval
from hear_exp.tasks.demo import ensure_demo_task
from hear_exp.tasks.folder import read_task

GRIDS = {
    "demo_events": {"max_epochs": [45], "lr": [1e-3], "hidden_dim": [256]},
    "demo_tags": {"max_epochs": [150], "lr": [1e-3], "hidden_dim": [256]},
}


def make(out: Path) -> list[Path]:
    """Both folders, made anew."""
    encoder = Encoder(Model("mel", "mel_model"))
    folders = []
    for name, grid in GRIDS.items():
        task = read_task(ensure_demo_task(name, out / "tasks" / name))
        target = out / encoder.name / name
        shutil.rmtree(target, ignore_errors=True)
        write_heareval(task, embed_task(task, encoder, out / "cache").embeddings, target)
        path = target / "task_metadata.json"
        metadata = json.loads(path.read_text())
        metadata["evaluation_params"] = {**metadata.get("evaluation_params", {}), "task_specific_param_grid": grid}
        path.write_text(json.dumps(metadata, indent=1))
        folders.append(target)
    return folders


if __name__ == "__main__":
    print(*make(Path(sys.argv[1])), sep="\n")
