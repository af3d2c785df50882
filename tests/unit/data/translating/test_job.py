"""``cmlm-kd translate`` from file to file, with a translator that needs no model."""

import gzip
import json
import os
import signal

import pytest
from toy_translator import lines_of, run, run_child, write_lines

from cmlm_kd.api.translator import Hypothesis
from cmlm_kd.data.translating import job as job_module
from cmlm_kd.data.translating.parts import Parts
from cmlm_kd.system.aside import hold_directory, release

TEXTS = [f"{'wort ' * (number % 7)}nummer {number}" for number in range(23)]
CAPITALS = [text.upper() for text in TEXTS]


@pytest.fixture
def job(tmp_path):
    """Flags of a small job, and where it writes."""
    write_lines(tmp_path / "x.de", TEXTS)
    output = tmp_path / "y.en"
    return ["--input", tmp_path / "x.de", "--output", output, "--shard-rows", 5, "--max-tokens", 12], output


def refused(capsys, *flags, way="well"):
    """Run, see that it is refused by one line, and return that."""
    capsys.readouterr()
    assert run(*flags, way=way) == 2
    printed = capsys.readouterr().err.split("\n")
    lines = [line for line in printed if line.startswith("cmlm-kd translate: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_file_is_translated_line_by_line(job, capsys):
    flags, output = job
    assert run(*flags) == 0
    assert lines_of(output) == CAPITALS
    assert not output.with_name("y.en.parts").exists()
    assert f"{output}: 23 of 23 lines by toy" in capsys.readouterr().out
    manifest = json.loads(output.with_name("y.en.json").read_text())
    assert manifest["format"] == "cmlm-kd translation" and manifest["synthetic"] is True
    assert manifest["counts"] == {"lines": 23, "written": 23, "empty": 0, "endless": 0}
    assert manifest["model_hash"] == "a" * 64 and manifest["languages"] == ["de", "en"]
    assert manifest["decoding"]["beam"] == 5 and manifest["shards"] == 5


def test_gzipped_text_and_empty_lines(tmp_path, capsys):
    (tmp_path / "x.de.gz").write_bytes(gzip.compress(b"a b\n\nc\n"))
    output = tmp_path / "y.en"
    assert run("--input", tmp_path / "x.de.gz", "--output", output) == 0
    assert lines_of(output) == ["A B", "", "C"]
    assert "1 are empty" in capsys.readouterr().out


@pytest.mark.parametrize("batches", [0, 1, 5, 8])
@pytest.mark.parametrize("more", [(), ("--sampling", "--n-best", 3, "--seed", 4, "--pick", "mbr-chrf")])
def test_what_a_kill_leaves_is_gone_on_from_byte_for_byte(job, tmp_path, batches, more):
    flags, output = job
    assert run_child(*flags, *more, way=f"kill{batches}") == signal.SIGKILL
    assert not output.exists() and not output.with_name("y.en.json").exists()
    assert run(*flags, *more) == 0
    whole = tmp_path / "whole.en"
    assert run(*flags, *more, "--output", whole) == 0
    assert output.read_bytes() == whole.read_bytes()
    names = [path.with_name(f"{path.name}.json") for path in (output, whole)]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_complete_shards_are_not_translated_again(job, monkeypatch):
    flags, output = job
    run_child(*flags, way="kill5")
    done = sorted(output.with_name("y.en.parts").glob("*.jsonl"))
    assert done and len(done) < 5
    written, write = [], Parts.write
    monkeypatch.setattr(Parts, "write", lambda *given: (written.append(given[1]), write(*given)))
    assert run(*flags) == 0
    assert written == list(range(len(done), 5)) and lines_of(output) == CAPITALS


def test_a_kill_while_the_outputs_are_written_is_gone_on_from(job, tmp_path, monkeypatch):
    flags, output = job
    more = ["--output-source", tmp_path / "y.de", "--output-scores", tmp_path / "y.tsv"]
    plain = job_module.describe_environment
    monkeypatch.setattr(
        job_module, "describe_environment", lambda device: os.kill(os.getpid(), signal.SIGKILL)
    )
    assert run_child(*flags, *more, way="well") == signal.SIGKILL
    assert output.exists() and (tmp_path / "y.de").exists() and not (tmp_path / "y.en.json").exists()
    monkeypatch.setattr(job_module, "describe_environment", plain)
    output.unlink()  # as if it had been killed before
    assert run(*flags, *more, way="kill0") == 0
    assert lines_of(output) == CAPITALS and (tmp_path / "y.en.json").exists()


def test_two_processes_do_not_write_the_same_translation(job, capsys):
    """Each deleted the shards of the other."""
    flags, output = job
    parts = output.with_name("y.en.parts")
    held = hold_directory(parts, output)
    said = refused(capsys, *flags)
    assert (
        said == f"cmlm-kd translate: another process is writing {output}; wait for it or choose another place"
    )
    release(held)
    assert run(*flags) == 0 and lines_of(output) == CAPITALS and not parts.exists()


def test_what_another_process_has_written_meanwhile_is_kept(job, monkeypatch):
    flags, output = job
    kept, calls = job_module.TranslationJob._kept, []

    def written_meanwhile(self, reference):
        found = kept(self, reference)
        if not calls:
            calls.append("first")
            assert run_child(*flags, way="well") == 0
        return found

    monkeypatch.setattr(job_module.TranslationJob, "_kept", written_meanwhile)
    assert run(*flags) == 0 and lines_of(output) == CAPITALS
    assert not output.with_name("y.en.parts").exists()


def test_an_equal_translation_is_kept(job, capsys):
    flags, output = job
    run(*flags)
    before = output.stat().st_mtime_ns
    assert run(*flags, way="nan") == 0
    assert output.stat().st_mtime_ns == before


def test_a_translation_that_was_changed_is_not_taken_for_the_same(job, tmp_path, capsys):
    flags, output = job
    more = ("--output-source", tmp_path / "y.de", "--output-scores", tmp_path / "y.tsv")
    run(*flags, *more)
    for path in (output, tmp_path / "y.de", tmp_path / "y.tsv"):
        former = path.read_bytes()
        path.write_bytes(former[:-9])
        assert f"{output} exists; it is in the way" in refused(capsys, *flags, *more)
        path.write_bytes(former)
    assert run(*flags, *more, way="nan") == 0
    # A file of another name beside it is not the one that was written.
    other = write_lines(tmp_path / "other.de", TEXTS[:3])
    assert "exists; it is in the way" in refused(capsys, *flags, "--output-source", other)
    assert lines_of(other) == TEXTS[:3]


def test_a_short_rest_without_an_end_does_not_end_the_job(tmp_path, capsys):
    """Of 17 lines in shards of 16 the last is a shard, and the model finds no end to that one."""
    write_lines(tmp_path / "x.de", [*TEXTS[:16], "endlos"])
    output = tmp_path / "y.en"
    assert run("--input", tmp_path / "x.de", "--output", output, "--shard-rows", 16, way="rest") == 0
    assert lines_of(output)[-1] == "ENDLOS"
    assert "1 have no end: they were cut off at --max-length" in capsys.readouterr().out


def test_another_translation_is_not_overwritten(job, capsys):
    flags, output = job
    run(*flags)
    said = refused(capsys, *flags, "--beam", 4)
    assert said.endswith(f"{output} exists; it is in the way: move it away, or choose another name")
    output.with_name("y.en.json").unlink()
    assert f"{output} exists" in refused(capsys, *flags)


def test_shards_of_several_processes_make_the_same_file(job, tmp_path, capsys):
    flags, output = job
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders, 1):
        assert run(*flags, "--shard", f"{number}/2", "--parts", folder) == 0
        assert f"shards {number}/2 are translated" in capsys.readouterr().out
    assert not output.exists()
    assert len(list(folders[0].glob("*.jsonl"))), len(list(folders[1].glob("*.jsonl"))) == (3, 2)
    assert run(*flags, "--merge", *folders, way="kill0") == 0
    assert lines_of(output) == CAPITALS
    assert all(folder.exists() for folder in folders)


def test_shards_in_one_folder_are_merged_by_the_plain_command(job):
    flags, output = job
    for number in (1, 2, 3):
        run(*flags, "--shard", f"{number}/3")
    assert run(*flags, way="kill0") == 0
    assert lines_of(output) == CAPITALS


def test_shards_that_do_not_fit(job, tmp_path, capsys):
    flags, output = job
    one, two = tmp_path / "one", tmp_path / "two"
    run(*flags, "--shard", "1/2", "--parts", one)
    said = refused(capsys, *flags, "--merge", one)
    assert "--merge: 2 of 5 shards are in none of the folders (1, 3); name all folders" in said
    run(*flags, "--beam", 3, "--shard", "2/2", "--parts", two)
    said = refused(capsys, *flags, "--merge", one, two)
    assert f"{two} holds shards with decoding.beam 3, this translation has 5" in said
    said = refused(capsys, *flags, "--merge", tmp_path)
    assert f"{tmp_path} has no readable job.json" in said
    run(*flags, "--shard", "1/1", "--parts", tmp_path / "three")
    changed = Parts(tmp_path / "three", json.loads((tmp_path / "three" / "job.json").read_text()))
    changed.write(0, [[Hypothesis("OTHER", -1.0)]] * 5)
    said = refused(capsys, *flags, "--merge", one, tmp_path / "three")
    assert "are the same shard with different translations" in said
    assert not output.exists()


def test_a_merge_with_other_flags_does_not_stand_in_the_way_of_the_right_one(job, tmp_path, capsys):
    flags, output = job
    run(*flags, "--shard", "1/1", "--parts", tmp_path / "one")
    said = refused(capsys, *flags, "--shard-rows", 6, "--merge", tmp_path / "one")
    assert "one holds shards with shard_rows 5, this translation has 6" in said
    assert run(*flags, "--merge", tmp_path / "one") == 0
    assert lines_of(output) == CAPITALS


def spoilt(lines, how):
    """Return the lines of a shard, of which the last is its checksum, with a damage."""
    first, second, *others = lines
    return {
        "word": [first.replace("NUMMER", "NUMBER"), second, *others],
        "bit of the checksum": [*lines[:-1], lines[-1].replace("sha256", "sha257")],
        "object": ["{}", second, *others],
        "empty": ["[]", second, *others],
        "repeated": [first, first, *others],
        "one more": [first, *lines],
        "swapped": [second, first, *others],
        "types": ['[["-0.5",1,"X"]]', second, *others],
        "short": lines[:1],
        "no JSON": ["[["],
        "deep": ["[" * 99_999, second, *others],
        "nothing": [],
    }[how]


DAMAGES = ["word", "bit of the checksum", "object", "empty", "repeated", "one more", "swapped", "types"]
DAMAGES += ["short", "no JSON", "deep", "nothing"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_shard_is_translated_again(job, capsys, caplog, how):
    flags, output = job
    run(*flags, "--shard", "1/1")
    damaged = output.with_name("y.en.parts") / "000001.jsonl"
    write_lines(damaged, spoilt(lines_of(damaged), how))
    said = refused(capsys, *flags, "--merge", damaged.parent)
    assert "--merge: 1 of 5 shards are in none of the folders (1)" in said
    assert run(*flags) == 0
    assert lines_of(output) == CAPITALS
    assert f"{damaged} is damaged (" in caplog.text


def test_a_shard_in_the_place_of_another_is_translated_again(job, caplog):
    flags, output = job
    run(*flags, "--shard", "1/1")
    parts = output.with_name("y.en.parts")
    (parts / "000001.jsonl").write_bytes((parts / "000000.jsonl").read_bytes())
    assert run(*flags) == 0
    assert lines_of(output) == CAPITALS and "000001.jsonl is damaged (it has another checksum" in caplog.text


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_shard_is_not_merged(job, tmp_path, capsys, how):
    flags, output = job
    run(*flags, "--shard", "1/1", "--parts", tmp_path / "one")
    damaged = tmp_path / "one" / "000001.jsonl"
    whole = damaged.read_bytes()
    write_lines(damaged, spoilt(lines_of(damaged), how))
    said = refused(capsys, *flags, "--merge", tmp_path / "one")
    assert f"{damaged} is missing or damaged (" in said and not output.exists()
    assert run(*flags, "--shard", "1/1", "--parts", tmp_path / "one") == 0 and damaged.read_bytes() == whole
    assert run(*flags, "--merge", tmp_path / "one", way="kill0") == 0 and lines_of(output) == CAPITALS


def test_shards_of_an_earlier_release_have_no_checksum(job, caplog):
    """Of them all counts but what only a checksum can tell."""
    flags, output = job
    run(*flags, "--shard", "1/1")
    shards = sorted(output.with_name("y.en.parts").glob("*.jsonl"))
    for shard in shards:
        write_lines(shard, lines_of(shard)[:-1])
    write_lines(shards[0], ["{}", *lines_of(shards[0])[1:]])
    write_lines(shards[1], lines_of(shards[1])[1:])
    write_lines(shards[2], [line.replace("NUMMER", "KEPT") for line in lines_of(shards[2])])
    assert run(*flags) == 0
    assert lines_of(output) == [
        line.replace("NUMMER", "KEPT") if 10 <= number < 15 else line for number, line in enumerate(CAPITALS)
    ]
    assert "a line of it is no list" in caplog.text and "it has 4 lines, it should have 5" in caplog.text


def test_a_model_that_reads_none_of_the_lines(tmp_path, capsys):
    write_lines(tmp_path / "x.de", ["wort " * 10] * 20)  # it takes nine
    said = refused(capsys, "--input", tmp_path / "x.de", "--output", tmp_path / "y.en")
    assert "toy reads none of 20 lines of " in said and "exceed the 9 tokens that it takes" in said
    write_lines(tmp_path / "blank.de", ["", " "] * 20)
    assert run("--input", tmp_path / "blank.de", "--output", tmp_path / "blank.en") == 0
    assert not (tmp_path / "y.en").exists() and lines_of(tmp_path / "blank.en") == [""] * 40


@pytest.mark.parametrize("count", [1, 20])
def test_lines_that_nobody_sees_are_not_taken_for_lines_that_are_too_long(tmp_path, count):
    write_lines(tmp_path / "x.de", ["\u200b"] * count)
    assert run("--input", tmp_path / "x.de", "--output", tmp_path / "y.en") == 0
    assert lines_of(tmp_path / "y.en") == [""] * count


@pytest.mark.parametrize("way", ["empty", "endless"])
def test_a_model_that_says_nothing_or_finds_no_end_is_refused_after_a_shard(job, capsys, way):
    flags, output = job
    said = refused(capsys, *flags, "--shard-rows", 20, way=way)
    assert "ends none of 20 translations within --max-length 200, or says nothing; is it trained" in said
    assert not output.exists()
    assert not output.with_name("y.en.parts").exists(), "or other flags would be refused next"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--shard", "3/2"), "--shard is 3/2; it must be from 1/2 to 2/2"),
        (("--shard", "1/2", "--merge", "x"), "--shard and --merge are both given"),
        (("--shard-rows", 0), "--shard-rows is 0; it must be at least 1"),
        (("--max-tokens", 0), "--max-tokens is 0; it must be at least 1"),
        (("--n-best", 6), "--n-best is 6 and --beam 5"),
        (("--top-k", 3), "--top-k is for sampling; add --sampling"),
        (("--sampling", "--top-k", 3, "--top-p", 0.5), "--top-k and --top-p are both given"),
        (("--sampling", "--top-p", 1.5), "--top-p is 1.5; it must be above 0 and at most 1"),
        (("--temperature", 0), "--temperature is 0.0; it must be above 0"),
        (
            ("--pick", "best"),
            "--pick is 'best'; allowed are first, all, bleu, chrf, mbr-bleu, mbr-chrf, scorer",
        ),
        (("--pick", "bleu", "--n-best", 2), "--pick bleu compares with a reference"),
        (
            ("--reference", "x.de", "--n-best", 2),
            "--reference is given, and --pick first does not look at it",
        ),
        (("--reference", "x.de", "--n-best", 2, "--pick", "mbr-chrf"), "--pick mbr-chrf does not look at it"),
        (("--pick", "mbr-bleu"), "--pick mbr-bleu is a choice among several hypotheses; give --n-best"),
        (("--pick", "scorer"), "--scorer is missing; the two go together"),
        (("--scorer", "x"), "--scorer is given, and --pick is not 'scorer'; the two go together"),
        (("--pick", "all", "--n-best", 2), "--pick all writes several lines a source, so the sources"),
        (("--filter",), "--filter drops pairs, so the sources must be written beside them"),
        (("--filter", "x", "--output-source", "z"), "--filter names 'x'; allowed are empty, endless"),
        (("--prompt", "{source}"), "--prompt means nothing to toy=well, a model of kind toy; leave it out"),
        (("--data", "x"), "--data means nothing to toy=well"),
        (("--output-scores", "y.en.gz"), "y.en.gz would be no gzipped file, text is written as it is"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(job, capsys, more, message):
    flags, output = job
    assert message in refused(capsys, *flags, *more)
    assert sorted(path.name for path in output.parent.iterdir()) == ["x.de"]


def test_inputs_that_do_not_fit(job, tmp_path, capsys):
    flags, output = job
    reference = write_lines(tmp_path / "short.en", TEXTS[:-1])
    said = refused(capsys, *flags, "--reference", reference, "--pick", "bleu", "--n-best", 2)
    assert (
        f"--reference {reference} has 22 lines, --input {tmp_path / 'x.de'} 23; give the translation" in said
    )
    assert "is an input and an output" in refused(capsys, *flags, "--output", tmp_path / "x.de")
    assert "two outputs are the same file" in refused(capsys, *flags, "--output-scores", output)
    manifest = output.with_name("y.en.json")
    assert f"same file, {manifest}" in refused(capsys, *flags, "--output-scores", manifest)
    assert "is empty" in refused(capsys, *flags, "--input", write_lines(tmp_path / "none", []))
    (tmp_path / "y.en.parts").mkdir()
    (tmp_path / "y.en.parts" / "thesis.txt").write_text("mine")
    assert "holds thesis.txt, and no unfinished translation" in refused(capsys, *flags)


@pytest.mark.parametrize("damage", ["[]", "7", "{", "[" * 99_999, "[3]"])
@pytest.mark.parametrize("file", ["job.json", "outputs.json"])
def test_notes_of_another_form_are_refused_in_a_line(job, capsys, file, damage):
    flags, output = job
    run(*flags, "--shard", "1/1")
    (output.with_name("y.en.parts") / file).write_text(damage)
    write_lines(output, ["mine"])
    assert "exists; it is in the way" in refused(capsys, *flags)
    output.unlink()
    if file == "job.json":
        assert "y.en.parts has no readable job.json" in refused(capsys, *flags)
    else:
        assert run(*flags) == 0 and lines_of(output) == CAPITALS
