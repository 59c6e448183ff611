"""A sweep's plan: what is to be embedded, whether it fits on the disk, how long the rest takes."""

import pytest

from hear_exp.cli.sweep_plan import JobFacts, check_space, plan_text, time_left
from hear_exp.errors import UserError


def fact(entry, **changes):
    made = {"entry": entry, "clips": 100, "audio_s": 3600.0, "is_event": False, "cached": False, **changes}
    return JobFacts(**made)


@pytest.fixture
def at(tmp_path):
    return lambda entry, **changes: fact(entry, cache=tmp_path / "not" / "yet", **changes)


def test_what_jobs_share_is_embedded_once(at):
    facts = [at("a"), at("a"), at("b", audio_s=1800.0), at("c", cached=True), None]
    assert plan_text(facts, 5) == (
        "5 jobs; to embed: 1.5 h of audio (2 times a model on a task); 1 are probably in the cache already"
    )
    assert plan_text([at("a", audio_s=None)], 1) == (
        "1 job; to embed: 0.0 h of audio and 100 clips of any length (1 times a model on a task)"
    )
    assert plan_text([None], 2) == "2 jobs"
    assert plan_text([None], 4, done=3) == "4 jobs, 3 of them done"


def test_what_cannot_fit_is_a_sentence(at, tmp_path):
    huge = at("a", clips=10**15)
    with pytest.raises(UserError, match=r"^the embeddings of this sweep need at least 256000000\.0 GB, and .* free: "):
        check_space([huge, huge])  # counted once
    check_space([at("a", clips=10**15, cached=True), at("b"), None])
    check_space([])


def test_the_least_of_an_event_task_is_by_its_seconds(at):
    assert at("a", is_event=True, audio_s=10.0).least_bytes == 10 * 5 * 64 * 4
    assert at("a").least_bytes == 100 * 64 * 4


@pytest.mark.parametrize(
    ("done", "jobs", "seconds", "text"),
    [
        (3, 20, 127.0, "3 of 20 jobs, about 12 min left"),
        (1, 2, 60.0, "1 of 2 jobs, about 60 s left"),
        (1, 11, 3600.0, "1 of 11 jobs, about 10.0 h left"),
        (2, 2, 9.0, "2 of 2 jobs"),
    ],
)
def test_time_left(done, jobs, seconds, text):
    assert time_left(done, jobs, seconds) == text
