"""Which commit a file is of, and that whatever git says no run fails."""

import subprocess

import pytest

from hear_exp.results import git_commit
from hear_exp.results.git_commit import commit_of


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A checkout of one commit that holds model.py."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "model.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_commit_of_a_checkout(checkout, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/elsewhere")  # as in a git hook
    found = commit_of(checkout / "model.py")
    monkeypatch.delenv("GIT_DIR")
    assert found == git_commit.Commit(git(checkout, "rev-parse", "HEAD"), changed=False)
    (checkout / "model.py").write_text("x = 2\n")
    assert commit_of(checkout / "model.py").changed


def test_a_package_installed_below_somebodys_checkout_is_not_of_its_commit(checkout):
    (checkout / ".gitignore").write_text(".venv\n")
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "model.py").touch()
    assert commit_of(checkout / ".venv" / "model.py") is None


def test_no_commit(tmp_path, checkout, monkeypatch):
    assert commit_of(tmp_path / "missing" / "x.py") is None
    (tmp_path / "x.py").touch()
    assert commit_of(tmp_path / "x.py") is None
    monkeypatch.setenv("PATH", "")
    assert commit_of(checkout / "model.py") is None  # git is not installed


def test_git_that_hangs_is_no_commit(checkout, tmp_path, monkeypatch):
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/bin:/usr/bin")
    monkeypatch.setattr(git_commit, "LIMIT_S", 0.2)
    assert commit_of(checkout / "model.py") is None
