"""scripts/parity_table.py, on made-up comparisons; docs/parity.md has a place for each table it writes."""

import marked
import parity
import parity_table
import pytest
from parity_stages import Stage

COMPARED = parity.Comparison(
    primary_metric="mAP",
    seeds=2,
    stages=(Stage("targets", "403 rows", 0.0),),
    rows=(parity.Row("mAP", 0.5, 0.01, 0.6, 0.01),),
    seconds={"seconds, whole command": (10.0, 35.0)},
    versions={"ours": {"torch": "2.13.0"}, "heareval": {"torch": "2.0"}},
)
DOCUMENT = """\
before
<!-- table: demo_tags -->
old
<!-- end -->
<!-- table: versions -->
old
<!-- end -->
<!-- table: FSDD -->
kept
<!-- end -->
"""


@pytest.fixture
def document(tmp_path, monkeypatch):
    path = tmp_path / "parity.md"
    path.write_text(DOCUMENT)
    monkeypatch.setattr(parity_table, "DOCUMENT", path)
    return path


def test_a_folder_s_tables_are_written_and_others_kept(document, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(parity, "measure", lambda *arguments: asked.append(arguments) or COMPARED)
    folder = tmp_path / "mel" / "demo_tags"
    parity_table.main(["peer/python", "work", str(folder), "--seeds", "7", "8"])
    assert [(python, where, seeds, points) for python, where, _, seeds, points in asked] == [
        ("peer/python", folder, [7, 8], 2)
    ]
    assert marked.between(document, "table: demo_tags") == parity.tables(COMPARED)
    assert "| mAP | 0.5000 ± 0.0100 | 0.6000 ± 0.0100 | -0.1000 | 7.07 | NO |" in document.read_text()
    assert marked.between(document, "table: versions") == parity.versions_text(COMPARED)
    assert marked.between(document, "table: FSDD") == "kept"


def test_a_folder_without_a_place_is_refused_before_anything_runs(document, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(parity, "measure", lambda *arguments: pytest.fail("measured"))
    with pytest.raises(SystemExit):
        parity_table.main(["peer/python", "work", str(tmp_path / "birds")])
    assert "<!-- table: birds -->" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["FSDD", "demo_events", "demo_tags"])
def test_the_documents_tables_have_the_form_that_is_written(name):
    shown = marked.between(parity_table.DOCUMENT, f"table: {name}").splitlines()
    written = parity.tables(COMPARED).splitlines()
    for line in (2, 3):
        assert shown[line] == written[line]
    for head in (line for line in written if line.startswith("| test score")):
        assert head in shown
    assert marked.between(parity_table.DOCUMENT, parity_table.VERSIONS).startswith("Versions, ours: python ")
