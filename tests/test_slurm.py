"""A sweep through a real Slurm, where there is one."""

import json
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def slurm_answers() -> bool:
    if not shutil.which("sbatch"):
        return False
    try:
        return b"up" in subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=10).stdout
    except subprocess.TimeoutExpired:
        return False


@pytest.mark.skipif(not slurm_answers(), reason="needs a Slurm controller")
def test_a_sweep_on_slurm_makes_a_result_per_job(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    command = [
        *(sys.executable, "-m", "hear_exp", "-m", "hydra/launcher=slurm", f"paths.root={tmp_path}"),
        *("task=demo_folds", "predictor=linear", "predictor.lr=1e-2,1e-3", "predictor.initialization=xavier_normal"),
        *("predictor.max_epochs=6", "logger=none"),
        *("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=2", "hydra.launcher.timeout_min=5"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/sweeps/*/*/result.json")]
    assert sorted(result["hyperparameters"]["lr"] for result in results) == [1e-3, 1e-2]
