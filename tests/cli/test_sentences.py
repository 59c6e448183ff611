"""Errors in words."""

import errno
import logging
import os

import pytest

from hear_exp.cli.run_log import RunLog
from hear_exp.cli.sentences import disk_error, is_expected, sentence
from hear_exp.errors import UserError


def full(*name: str) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *name)


def test_sentence_of_a_user_error():
    assert sentence(UserError("task folder not found: x")) == "task folder not found: x"


def test_a_full_disk_with_and_without_a_file_name():
    ending = "No space left on device; free some space, or choose another folder with paths.root=FOLDER"
    assert sentence(full("/there")) == f"cannot write /there: {ending}"
    assert sentence(full()) == f"cannot write: {ending}"  # what write() raises


def test_an_error_that_a_full_disk_caused():
    error = RuntimeError("writing the archive failed")
    error.__cause__ = full("/there")
    assert is_expected(error)
    assert sentence(error).startswith("cannot write /there: ")


def test_an_error_while_a_full_disk_is_handled(tmp_path):
    """As torch.save raises it."""

    def closing_fails(first: OSError) -> Exception:
        try:
            try:
                raise first
            finally:
                raise RuntimeError("unexpected pos 1024 vs 918")
        except RuntimeError as error:
            return error

    assert sentence(closing_fails(full("/there"))).startswith("cannot write /there: No space left")
    assert not is_expected(closing_fails(FileExistsError(errno.EEXIST, "it is there", "x")))


@pytest.mark.parametrize("error", [RuntimeError("a bug"), FileNotFoundError(errno.ENOENT, "gone", "x"), OSError("odd")])
def test_other_errors_are_faults_of_ours(error):
    assert disk_error(error) is None
    assert not is_expected(error)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["hydra.core.utils._save_config", "hydra.core.utils.configure_log"])
def test_a_disk_that_is_full_before_the_job_begins(start, capsys, monkeypatch, where):
    def refuse(*arguments, **options):
        raise full()

    monkeypatch.setattr(where, refuse)
    with pytest.raises(SystemExit) as end:
        start(lambda config, folder, choices: None)
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("hear_exp: cannot write: No space left on device; ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_log_file_on_a_full_disk_says_it_once(capsys):
    handler = RunLog("/dev/full", delay=True)
    for _ in range(3):
        handler.handle(logging.LogRecord("x", logging.INFO, __file__, 1, "message", (), None))
    handler.stream = None  # closing would write what is left
    assert capsys.readouterr().err == "hear_exp: cannot write /dev/full: No space left on device; the run goes on\n"
