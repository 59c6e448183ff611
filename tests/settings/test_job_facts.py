"""What is known of a job before its model is loaded; a cache entry counts only for the same clips, options, weights."""

from tiny import write_task

from hear_exp.embeddings.embed import embed_task
from hear_exp.settings.job_facts import facts_of
from hear_exp.settings.objects import load_encoder
from hear_exp.tasks.folder import read_task


def test_facts_and_the_cache(settings_of, tmp_path):
    folder = write_task(tmp_path / "task", clips=4)
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_text("1")
    typed = ["model=hear", "model.module=tiny_model", "task=custom", f"task.path={folder}", "trainer=cpu"]

    def facts(*more):
        return facts_of(settings_of(*typed, *more)[0], [read_task(folder)])

    before = facts("model.weights=a.pt")
    assert (before.cached, before.is_event) == (False, False)
    assert before.clips == sum(len(split.clips) for split in read_task(folder).splits)
    settings, _ = settings_of(*typed, "model.weights=a.pt")
    embed_task(read_task(folder), load_encoder(settings), settings.paths.embeddings)
    assert facts("model.weights=a.pt").cached
    assert not facts("model.weights=b.pt").cached
    assert not facts("model.weights=a.pt", "model.options={dim: 8}").cached
    assert before.entry == facts("model.weights=a.pt").entry != facts("model.weights=b.pt").entry
    write_task(tmp_path / "larger", clips=5, task_name=read_task(folder).name)
    assert not facts_of(settings, [read_task(tmp_path / "larger")]).cached
    assert facts_of(settings, []) is None
