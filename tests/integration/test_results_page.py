"""docs/results.md says what its hypotheses score."""

import hashlib
import json
import shutil

import pytest
from documentation import load_script

from cmlm_kd.errors import UserError


def load_writer():
    return load_script("scripts/write_results.py")


def test_its_tables_are_what_the_results_give():
    writer = load_writer()
    page = writer.PAGE.read_text(encoding="utf-8")
    assert writer.PLACE.search(page)
    assert writer.up_to_date(page) == page, "run: python scripts/write_results.py"


def test_tables_of_captions_are_too(shared_dir):
    writer = load_writer()
    page = writer.PAGE.read_text(encoding="utf-8")
    found = [
        place[0]
        for place in writer.PLACE.finditer(page)
        if "reference" in writer.settings_of(writer.RESULTS / place[2])
    ]
    captions = shared_dir / "data" / "multi30k"
    assert found and all(writer.up_to_date(text, [captions]) == text for text in found)


def test_every_folder_of_results_is_in_the_page_and_every_run_has_its_curve():
    writer = load_writer()
    places = {place[2] for place in writer.PLACE.finditer(writer.PAGE.read_text(encoding="utf-8"))}
    assert places == {path.name for path in writer.RESULTS.iterdir() if path.is_dir()}
    for name in places:
        runs = {path.stem for path in (writer.RESULTS / name / "hypotheses").iterdir()}
        assert runs == {path.stem for path in (writer.RESULTS / name / "logs").iterdir()}
        assert (writer.PAGE.parent / f"results_{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_run_has_made_is_taken(tmp_path):
    writer, run, folder = load_writer(), tmp_path / "run", tmp_path / "results"
    for directory in ("generated", "alone@1", "data-bin/raw", "corpus"):
        (run / directory).mkdir(parents=True)
    with pytest.raises(UserError, match="has no translations in generated/"):
        writer.take(run, folder)
    (run / "data-bin" / "prepare.json").write_text('{"target_language": "title"}')
    (run / "data-bin" / "raw" / "test.title").write_text("one\ntwo\n")
    (run / "corpus" / "test.clauses").write_text("a\nb\n")
    (run / "generated" / "alone@1.txt").write_text("D-1\t-0.5\tzwei\nD-0\t-0.5\teins\n")
    line = "epoch 001 | valid on 'valid' subset | loss 3 | nll_loss 2.5 | num_updates 100"
    (run / "alone@1" / "train.log").write_text(f"epoch 001 | loss 4\n{line}\n")
    (folder / "hypotheses").mkdir(parents=True)
    (folder / "hypotheses" / "former@1.txt").touch()
    writer.take(run, folder)
    assert [path.name for path in (folder / "hypotheses").iterdir()] == ["alone@1.txt"]
    assert (folder / "hypotheses" / "alone@1.txt").read_text() == "eins\nzwei\n"
    assert (folder / "logs" / "alone@1.log").read_text() == f"{line}\n"
    assert (folder / "reference.txt").read_text() == "one\ntwo\n"
    assert (folder / "clusters.txt").read_text() == "a\nb\n"
    shutil.copytree(run / "alone@1", run / "lstm-alone@2")
    shutil.copy(run / "generated" / "alone@1.txt", run / "generated" / "lstm-alone@2.txt")
    for only in (["lstm-alone"], ["lstm-alone@2"]):
        writer.take(run, folder, only)
        assert [path.name for path in (folder / "logs").iterdir()] == ["lstm-alone@2.log"]
    with pytest.raises(UserError, match="has no translations of 'lstm'; it has those of alone, "):
        writer.take(run, folder, ["lstm"])
    (folder / "reference.txt").unlink()
    (folder / "result.yaml").write_text("reference: test.en.gz\n")
    writer.take(run, folder)
    assert not (folder / "reference.txt").exists()


def write_results_without_their_test_set(folder, **settings):
    """Write two summaries of each of two systems, and what result.yaml says of them."""
    (folder / "hypotheses").mkdir(parents=True)
    for name, lines in (
        ("alone", "a file manager\na chess game\n"),
        ("distilled", "a file browser\nchess\n"),
    ):
        (folder / "hypotheses" / f"{name}@1.txt").write_text(lines)
    known = {"baseline": "alone", "run": "cmlm-kd run titles.yaml", "reference": "test.title", **settings}
    (folder / "result.yaml").write_text(json.dumps(known))


def test_a_test_set_from_elsewhere_and_the_metrics_of_a_folder(tmp_path, monkeypatch):
    writer, page = load_writer(), "<!-- written: titles -->\n<!-- end -->"
    monkeypatch.setattr(writer, "RESULTS", tmp_path / "results")
    (tmp_path / "corpus").mkdir()
    text = "a file manager\na game of chess\n"
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    write_results_without_their_test_set(
        tmp_path / "results" / "titles", metrics=["chrf", "rouge"], sha256=sha256
    )
    assert writer.up_to_date(page) == page == writer.up_to_date(page, [tmp_path])
    (tmp_path / "corpus" / "test.title").write_text(text)
    written = writer.up_to_date(page, [tmp_path, tmp_path / "corpus"])
    assert (
        all(name in written for name in ("chrF2", "ROUGE-1", "ROUGE-2", "ROUGE-L")) and "BLEU" not in written
    )
    (tmp_path / "corpus" / "test.title").write_text("another\ntext\n")
    with pytest.raises(UserError, match=r"corpus/test.title is not the test set of .*SHA-256 " + sha256):
        writer.up_to_date(page, [tmp_path / "corpus"])
