"""What prepare refuses: status 2, one line that names value and remedy, nothing written."""

import json
import shutil

import pytest
from tiny_prepare import ENGLISH, GERMAN, refuse, run, write_corpus, write_teacher, write_text
from tiny_tokenizers import BERT_TOKENS, wordpiece, wrap, write_config

from cmlm_kd.cli import main
from cmlm_kd.data.translation.manifest import load_manifest
from cmlm_kd.fairseq_files.databin import Databin


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def text(tmp_path):
    return write_corpus(tmp_path)


def test_different_line_counts(text, teacher, capsys):
    write_text(text / "train", GERMAN, ENGLISH[:-1])
    message = (
        "train.de has 4 lines but .*train.en has 3; parallel text needs one translation per line, so find"
    )
    refuse(text, teacher, message, capsys)


@pytest.mark.parametrize("empty", ["", "   ", "\u00a0\t"])
def test_empty_lines(text, teacher, capsys, empty):
    write_text(text / "train", [GERMAN[0], empty, *GERMAN, "x"], [ENGLISH[0], "x", *ENGLISH, empty])
    message = (
        "train: 2 of 7 pairs have an empty side, the first in line 2; mend the text, or pass --drop-empty"
    )
    refuse(text, teacher, message, capsys)
    data = run(text, teacher, "--drop-empty")
    report = load_manifest(data).splits["train"]
    assert (report.pairs, report.dropped_empty) == (5, 2)
    assert "2 empty pairs dropped" in capsys.readouterr().out
    assert (data / "raw" / "train.en").read_text().split("\n")[:-1] == [ENGLISH[0], *ENGLISH]
    assert len(Databin.open(data / "train.de-en.en")) == 5


def test_lines_of_which_the_tokenizer_leaves_nothing(text, teacher, capsys):
    write_text(text / "train", [*GERMAN, "\u200b\x01"], [*ENGLISH, "x"])
    message = "train, line 5: the teacher's tokenizer leaves nothing of one side; mend .* --drop-empty"
    refuse(text, teacher, message, capsys)
    data = run(text, teacher, "--drop-empty")
    assert load_manifest(data).splits["train"].dropped_empty == 1
    assert len((data / "raw" / "train.de").read_text().split("\n")) == 5


def test_nothing_but_empty_lines(text, teacher, capsys):
    write_text(text / "train", ["", " "], ["x", "y"])
    message = "train: no pair has text on both sides; give text with at least one pair"
    refuse(text, teacher, message, capsys, ["--drop-empty"])
    write_text(text / "train", [], [])
    refuse(text, teacher, "train.de and .*train.en are empty; give text with at least one pair", capsys)


def test_invalid_utf8(text, teacher, capsys):
    (text / "valid.en").write_bytes(b"What?\nna\xefve\n")
    refuse(
        text,
        teacher,
        "valid.en, line 2: byte 3 (0xef) is not UTF-8; convert the text, for example with 'iconv",
        capsys,
    )


def test_missing_files(text, teacher, capsys):
    (text / "train.en").unlink()
    refuse(
        text,
        teacher,
        "neither .*train.en nor .*train.en.gz exists; give the prefix of existing files",
        capsys,
    )
    refuse(
        text,
        text / "no" / "teacher",
        "teacher '.*no/teacher' is not a directory; give a Hugging Face",
        capsys,
    )


def test_a_teacher_directory_without_a_tokenizer(text, capsys):
    bare = write_config(text / "bare", "bert")
    refuse(
        text, bare, "bare' has no tokenizer (looked for tokenizer.json, .*); save one there with tok", capsys
    )


def test_a_tokenizer_without_a_mask_token(text, capsys):
    tokens = {name: token for name, token in BERT_TOKENS.items() if name != "mask"}
    wrap(wordpiece(GERMAN, False), tokens).save_pretrained(text / "gpt")
    write_config(text / "gpt", "gpt2")
    refuse(text, text / "gpt", "gpt' has no mask token, .*; take a BERT- or RoBERTa-like model", capsys)


def test_a_teacher_without_configuration(text, teacher, capsys):
    bare = shutil.copytree(teacher, text / "bare")
    (bare / "config.json").write_text("{}")
    refuse(
        text, bare, "cannot load the configuration of teacher .*; give a directory with a config.json", capsys
    )
    (bare / "config.json").write_text('{"model_type": "t5"}')
    refuse(text, bare, "say how long an input it takes (max_position_embeddings", capsys)


def test_languages_and_training_text(text, teacher, capsys):
    refuse(
        text,
        teacher,
        "source and target language are both 'de'; name the files' two suffixes",
        capsys,
        ["-t", "de"],
    )
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "--teacher", str(teacher), "-s", "de", "-t", "en"])
    assert stopped.value.code == 2 and "--trainpref" in capsys.readouterr().err


def test_a_destination_that_cannot_be_made(text, teacher, capsys):
    refuse(
        text,
        teacher,
        "train.de: Not a directory; a file is where a folder is meant: choose another place",
        capsys,
        ["--destdir", text / "train.de" / "data"],
    )


def damaged(change):
    """Return what is to be written instead of a manifest."""

    def text(manifest):
        del manifest["manifest_sha256"]  # as an earlier release wrote it
        change(manifest)
        return json.dumps(manifest)

    return text


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda manifest: '{"format": ', "Invalid JSON: Expecting value: line 1 .*"),
        (lambda manifest: "[]", "the file is [], it should be an object"),
        (lambda manifest: "{}", "format is missing"),
        (damaged(lambda m: m.pop("corpora")), "corpora is missing"),
        (damaged(lambda m: m["tokenizer"]["special"].pop("sep")), "tokenizer.special.sep is missing"),
        (damaged(lambda m: m.update(format="tar")), 'format is "tar", it should be .cmlm-kd data-bin.'),
        (
            damaged(lambda m: m["tokenizer"].update(separators="1")),
            'tokenizer.separators is "1", it should be a valid integer',
        ),
        (
            damaged(lambda m: m.update(joined_dictionary=1)),
            "joined_dictionary is 1, it should be a valid boolean",
        ),
        (damaged(lambda m: m["splits"].update(train=[])), "splits.train is [], it should be an object"),
        (
            damaged(lambda m: m["splits"]["train"]["pieces"].update(de=None)),
            "splits.train.pieces.de is null, it should be a valid integer",
        ),
        (damaged(lambda m: m.update(target_language="fr")), "dictionaries.fr is missing"),
    ],
)
def test_damaged_manifests_are_refused(text, teacher, capsys, write, reason):
    data = run(text, teacher)
    manifest = json.loads((data / "prepare.json").read_text())
    (data / "prepare.json").write_text(write(manifest))
    message = f"prepare.json is damaged ({reason}); write the data again with 'cmlm-kd prepare'"
    refuse(text, teacher, message.replace("[]", r"\[\]"), capsys)
    message = "prepare.json is damaged, and nothing else says which files --overwrite may replace; move the"
    refuse(text, teacher, message, capsys, ["--overwrite"])


def test_what_is_not_utf8_is_no_manifest(text, teacher, capsys):
    data = run(text, teacher)
    (data / "prepare.json").write_bytes(b'{"format": "\xff"}')
    refuse(text, teacher, "prepare.json is damaged (Invalid JSON: .*); write the data again", capsys)


def test_cutting_at_positions_that_nothing_names(text, teacher, tmp_path, capsys):
    alone = shutil.copytree(teacher, tmp_path / "tokenizer")
    (alone / "config.json").unlink()
    message = "cuts at the teacher's positions, but .*tokenizer has no more than a tokenizer; give"
    refuse(text, alone, message, capsys, ["--truncate-source"])


def test_text_that_the_tokenizer_knows_nothing_of(text, teacher, capsys):
    """It made a dictionary of 8 entries, all of them special or padding."""
    write_text(text / "train", ["☃ ☃☃", "☃"], ["Two men.", "A man."])
    message = "train.de: the teacher's tokenizer knows none of the text, every token is <unk>; give a"
    refuse(text, teacher, message, capsys)
    write_text(text / "train", ["☃ ☃☃", "ein ☃"], ["Two men.", "A man."])
    run(text, teacher)
