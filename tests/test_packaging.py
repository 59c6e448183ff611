"""conf/ is found from a checkout and from a built wheel; a person's own configs come in by --config-dir."""

import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]


def _hear_exp(*arguments: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    command = [sys.executable, "-m", "hear_exp", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_a_wheel_carries_its_configs_and_data(tmp_path):
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    for source in (PROJECT / "conf").rglob("*.yaml"):
        assert (unpacked / "hear_exp" / "conf" / source.relative_to(PROJECT / "conf")).is_file()
    where = "import hear_exp.cli.edge; print(hear_exp.cli.edge.conf_dir())"
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert Path(done.stdout.strip()) == unpacked / "hear_exp" / "conf"
    assert (unpacked / "hydra_plugins" / "hear_exp" / "sweeper.py").is_file()
    assert not (unpacked / "hydra_plugins" / "__init__.py").exists()  # other packages have plugins there too
    done = _hear_exp("--cfg", "all", "model=crepe", cwd=tmp_path, path=unpacked)
    assert done.returncode == 0, done.stderr
    assert "module: hear_exp.models.crepe" in done.stdout
    assert "_target_: hydra_plugins.hear_exp.sweeper.HearSweeper" in done.stdout


def test_an_editable_install_has_the_plugins():
    # Not "import a.b.c": Hydra's scan, where a test before has run it, leaves the package without the attribute.
    module = importlib.import_module("hydra_plugins.hear_exp.sweeper")
    assert Path(module.__file__).is_relative_to(PROJECT / "src")


def test_own_configs_come_in_by_config_dir(tmp_path):
    for group in ("model", "experiment"):
        (tmp_path / "mine" / group).mkdir(parents=True)
    (tmp_path / "mine/model/my_model.yaml").write_text(
        "name: my_model\nmodule: my_package\nweights: ''\noptions: {size: 3}\n"
    )
    (tmp_path / "mine/experiment/brisk.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: my_model\npredictor:\n  lr: 1.0e-3\n"
    )
    done = _hear_exp("--config-dir", "mine", "experiment=brisk", "--cfg", "job", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "module: my_package" in done.stdout
    assert "lr: 0.001" in done.stdout


def test_every_option_is_in_the_help(tmp_path):
    from omegaconf import OmegaConf

    done = _hear_exp("--help", cwd=tmp_path)
    assert done.returncode == 0
    conf = PROJECT / "conf"
    for group in ("predictor", "protocol", "embeddings", "trainer"):
        for file in (conf / group).glob("*.yaml"):
            for option in set(OmegaConf.load(file)) - {"name", "defaults"}:
                assert option in done.stdout, f"{group}.{option} is not in --help"
    for group in (path.name for path in conf.iterdir() if path.is_dir() and path.name != "hydra"):
        assert f"\n{group}" in done.stdout, f"{group} is not in --help"
