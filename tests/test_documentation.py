"""Every command that README and docs show is run, word for word, with a few words more that make it quick.

The folders, modules and archives that the text speaks of are made here; a demo task is a small one of the same name,
since one that is there is not generated again. What needs the real corpora, Slurm or wandb's program skips without.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from archive_server import pack
from command_server import CommandServer
from documented import DOCUMENTS, PROJECT, Command, blocks_of, commands_of, write_heads
from test_slurm import slurm_answers
from tiny import write_task, write_wav

from hear_exp.tasks.demo import DEMO_VERSION

pytestmark = pytest.mark.slow

CORPORA = PROJECT.parent / "shared" / "data" / "corpora"
QUICK = ("search.workers=1", "protocol.grid_points=1")
QUICK_FIT = ("predictor.max_epochs=2", "predictor.check_val_every_n_epoch=1")
ESC50 = "esc50-v2.0.0-full"

# Words added to a command in which the pattern is found: first to last, all that apply.
ADDED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"model=(wav2vec2|hf_waveform|wavlm_large)", ("model.checkpoint=tiny_wav2vec2",)),  # in place of the hub
    (r"hear_exp\.download .*(task=esc50|mridangam)(?!.*mirror)", ("download.mirror=URL_OR_FOLDER",)),
    (r"hear_exp\.validate ", ("validate.long_minutes=0.05",)),
    (r"hear_exp\.prepare .*out=(my_task|data/tasks/(rooms|birds table))", ("overwrite=true",)),
    (r"hear_exp\.prepare .*folder=AudioWAV", ("overwrite=true",)),
    (r"hydra/launcher=slurm", ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=2")),
    (r"tasks=all", ("--cfg", "job")),  # BeeHive's archives have checksums that nothing made here could have
)
CORPUS = re.compile(r"ESC-50-master|AudioWAV|my_esc50")


@pytest.fixture(scope="module")
def server():
    with CommandServer() as running:
        yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory, server) -> Path:
    """A folder with everything that the commands of the documents name."""
    folder = tmp_path_factory.mktemp("reader")
    tasks = folder / "data" / "tasks"
    for name, kind in (("scene", "multiclass"), ("folds", "multiclass"), ("tags", "multilabel"), ("events", "events")):
        options = {"clips": 6, "folds": 3} if name == "folds" else {"clips": 6}
        seconds = 2.0 if kind == "events" else 0.5
        made = {"task_name": f"demo_{name}", "version": DEMO_VERSION}
        write_task(tasks / f"demo_{name}", kind, rate=16000, seconds=seconds, **options, **made)
    write_task(folder / "FOLDER", clips=6)
    write_task(folder / "my_task", clips=6)
    _recordings(folder)
    module = re.search(r"```python\n# my_model\.py\n(.*?)```", _text("README.md"), re.S).group(1)
    (folder / "my_model.py").write_text(module)
    (folder / "my_package.py").write_text(module.replace("gain: float = 1.0", "gain: float = 2.0"))
    (folder / "checkpoints").mkdir()
    for step in (20, 100):
        state = {"layer.weight": torch.full((64, 400), float(step)), "layer.bias": torch.zeros(64)}
        torch.save(state, folder / "checkpoints" / f"step_{step}.pt")
    (folder / "my_configs" / "model").mkdir(parents=True)
    config = (PROJECT / "conf/model/hear.yaml").read_text()
    config = re.sub(r"(?m)^module: .*$", "module: my_package", re.sub(r"(?m)^name: .*$", "name: NAME", config))
    (folder / "my_configs/model/NAME.yaml").write_text(config)
    write_heads(folder)
    for content in blocks_of("docs/models.md", "yaml"):
        (folder / content.split()[1]).write_text(content)
    pytest.importorskip("transformers")
    importlib.import_module("tiny_checkpoint").save(folder / "tiny_wav2vec2")
    _archives(folder)
    words = ["hear_exp.export_heareval", "model=logmel", "task=custom", "task.path=FOLDER", "out=heareval"]
    status, output = server.run(words, folder)
    assert status == 0, output
    _, words = quick(commands_of("docs/sweeps.md")[0].text)  # a sweep that has ended, for what is done with one
    status, output = server.run(words, folder)
    assert status == 0, output
    (folder / "OUT" / "MODEL").mkdir(parents=True)
    shutil.move(folder / "heareval/logmel/FOLDER", folder / "OUT/MODEL/TASK")
    return folder


def _text(document: str) -> str:
    return (PROJECT / document).read_text(encoding="utf-8")


def _recordings(folder: Path) -> None:
    rows = ["path,label"]
    for label, hertz in (("robin", 2000.0), ("wren", 3000.0)):
        for i in range(8):
            audio = 0.2 * np.sin(2 * np.pi * (hertz + 40 * i) * np.arange(8000) / 16000)
            write_wav(folder / "recordings" / label / f"{i}.wav", audio, 16000)
            rows.append(f"recordings/{label}/{i}.wav,{label}")
    (folder / "birds.csv").write_text("\n".join(rows) + "\n")
    _annotations(folder)


def _annotations(folder: Path) -> None:
    """The same events in the three layouts that own-data.md names: columns start and end, DCASE's, Audacity's."""
    rows = []
    for i in range(6):
        audio = 0.2 * np.sin(2 * np.pi * (500 + 50 * i) * np.arange(64000) / 16000)
        for where in ("audio", "annotated"):
            write_wav(folder / where / f"room{i}.wav", audio, 16000)
        rows += [(f"room{i}.wav", start, start + 0.5, label) for start, label in ((0.5, "door"), (2.5, "cough"))]
    lines = [f"audio/{name},{start},{end},{label}" for name, start, end, label in rows]
    (folder / "events.csv").write_text("\n".join(["path,start,end,label", *lines]) + "\n")
    lines = ["\t".join(map(str, row)) for row in rows]
    (folder / "events.tsv").write_text("\n".join(["filename\tonset\toffset\tevent_label", *lines]) + "\n")
    for name, start, end, label in rows:
        with (folder / "annotated" / name).with_suffix(".txt").open("a") as file:
            file.write(f"{start}\t{end}\t{label}\n")


def _archives(folder: Path) -> None:
    mirror = folder / "URL_OR_FOLDER"
    mirror.mkdir()
    for name in (ESC50, "mridangam_stroke-v1.5-full", "mridangam_tonic-v1.5-full"):
        content = pack(write_task(folder / "source" / name, clips=4, rate=48000))
        file = mirror / f"hear2021-{name}-48000.tar.gz"
        file.write_bytes(content)
        file.with_name(f"{file.name}.md5").write_text(f"{hashlib.md5(content).hexdigest()}  {file.name}\n")
    shutil.copyfile(mirror / f"hear2021-{ESC50}-48000.tar.gz", folder / "FILE.tar.gz")


def _corpora(folder: Path) -> None:
    """What the walk in own-data.md begins with, and CREMA-D's recordings under its authors' names."""
    if (folder / "ESC-50-master").exists():
        return
    with zipfile.ZipFile(CORPORA / "esc50-all_folds-small.zip") as archive:
        archive.extractall(folder)
    with zipfile.ZipFile(CORPORA / "crema_d-train-small.zip") as archive:
        recordings = sorted(name for name in archive.namelist() if name.endswith(".wav"))
        (folder / "AudioWAV").mkdir()
        for i, name in enumerate(recordings):
            emotion = ("ANG", "SAD", "NEU")[i // 2 % 3]
            (folder / "AudioWAV" / f"{1001 + i // 6}_DFA_{emotion}_XX.wav").write_bytes(archive.read(name))


def quick(command: str) -> tuple[dict[str, str], list[str]]:
    """(environment, words after ``python -m``) of a documented command, with the words that make it quick."""
    words = shlex.split(command, comments=True)
    environment = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    words = words[2:] if words[0] == "python" else words
    if len(words) == 1 and words[0] not in ("hear_exp", "hear_exp.report"):
        return environment, [*words, "--help"]  # a command that is only mentioned
    for pattern, more in ADDED:
        if re.search(pattern, command):
            words += more
    if words[0] == "hear_exp" and not any(
        word.startswith("-") and word not in ("-m", "--config-dir") for word in words
    ):
        words += QUICK + (() if "predictor=knn" in command else QUICK_FIT)
        words += () if any(word.startswith("logger") for word in words) else ("logger=none",)
    return environment, words


def _reason_to_skip(command: str) -> str:
    if CORPUS.search(command) and not CORPORA.is_dir():
        return "needs the raw corpora"
    if "launcher=slurm" in command and not slurm_answers():
        return "needs a Slurm controller"
    return ""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_of_a_document_run(document, place, server):
    for command in commands_of(document):
        if _reason_to_skip(command.text):
            continue
        if CORPUS.search(command.text):
            _corpora(place)
        environment, words = quick(command.text)
        status, output = server.run(words, place, environment)
        _check(document, command, words, status, output)


def _check(document: str, command: Command, words: list[str], status: int, output: str) -> None:
    where = f"{document}:{command.line}: {command.text}\n(run as: {shlex.join(words)})\n{output}"
    if command.sentence:
        assert status == 1, where
        said = " ".join(output[output.rindex("hear_exp: ") :].removeprefix("hear_exp: ").split())
        pattern = ".*".join(re.escape(part) for part in command.sentence.replace(r"\ ", " ").split("..."))
        assert re.match(pattern, said), where
    else:
        assert status == 0, where
    assert "Traceback" not in output, where


def test_the_documents_show_commands():
    """A rule that finds nothing would pass for a documentation that runs."""
    assert len(commands_of("README.md")) > 20
    assert {command.sentence for command in commands_of("docs/own-data.md")} > {""}
    (walk,) = (command for command in commands_of("docs/own-data.md") if command.sentence)
    assert walk.sentence.startswith("1980 of 2000 recordings are not there")
