"""What keeps wandb from starting is told before anything is embedded."""

import subprocess
import sys

import pytest

from hear_exp.errors import UserError
from hear_exp.results.tracking import CsvLogger, check_logger
from hear_exp.results.wandb_logger import WandbLogger, agents_run, has_credentials

VARIABLES = ("MODE", "API_KEY", "IDENTITY_TOKEN_FILE", "BASE_URL", "DIR", "SWEEP_ID", "RUN_ID")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder without any of wandb's files."""
    for name in VARIABLES:
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def logger(home, **options):
    return WandbLogger(**{"project": "p", "dir": home, **options})


def test_what_can_start(home, monkeypatch):
    check_logger(CsvLogger())
    check_logger(logger(home))
    check_logger(logger(home, mode="disabled"))
    monkeypatch.setenv("WANDB_API_KEY", "0123")
    check_logger(logger(home, mode="online"))


def test_online_without_a_key(home, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "run")  # wandb's old name for online
    with pytest.raises(UserError, match=r"\(mode online\).*no key.*wandb login.*WANDB_MODE=offline.*logger=none"):
        check_logger(logger(home))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mode": "elsewhere"}, r"logger.mode \(or WANDB_MODE\) is 'elsewhere', expected one of: online, offline, "),
        ({"project": "a/b:c"}, r"logger.project is 'a/b:c', but wandb takes no / : in a name"),
        ({"project": "a" * 129}, r"logger.project has 129 characters, but wandb takes a name of 1 to 128"),
        ({"project": ""}, r"logger.project has 0 characters"),
    ],
)
def test_options_that_wandb_would_refuse(home, options, sentence):
    with pytest.raises(UserError, match=sentence):
        check_logger(logger(home, **options))


def test_keys_in_netrc_are_for_a_server(home, monkeypatch):
    assert not has_credentials()
    (home / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert has_credentials()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    assert not has_credentials()
    (home / "keys").write_text("machine wandb.example.org:8080 login user password secret\n")
    monkeypatch.setenv("NETRC", "~/keys")
    assert has_credentials()


def test_the_server_of_a_settings_file(home):
    (home / ".netrc").write_text("machine wandb.example.org login user password secret\n")
    assert not has_credentials()
    (home / "config").mkdir()
    (home / "config" / "settings").write_text("[default]\nbase_url = https://wandb.example.org\n")
    assert has_credentials()


def test_files_that_cannot_be_read_stop_nobody(home):
    (home / ".netrc").write_text("machine\n")
    assert has_credentials()
    (home / ".netrc").unlink()
    (home / "config").mkdir()
    (home / "config" / "settings").write_bytes(b"\xff no settings")
    assert not has_credentials()


def test_the_run_of_an_agent(home, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "leaked")
    assert agents_run() is None
    assert logger(home).used_mode == "offline"
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    assert agents_run() == "leaked"
    assert logger(home).used_mode == "online"
    assert logger(home, mode="offline").used_mode == "offline"


def test_the_check_imports_nothing_heavy(home):
    code = (
        "import sys; from pathlib import Path; from hear_exp.results import tracking, wandb_logger\n"
        "tracking.check_logger(wandb_logger.WandbLogger('p', Path()))\n"
        "sys.exit('wandb' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
