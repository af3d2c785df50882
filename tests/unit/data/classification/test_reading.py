"""Corpora as they are published."""

import gzip
import re

import numpy as np
import pytest
from corpus_files import read, write
from tiny_classification import write_pairs, write_sst2

from cmlm_kd.data.classification import (
    ReadingOptions,
    hold_out,
    read_examples,
    with_labels,
    without,
    write_examples,
)
from cmlm_kd.data.classification.examples import Examples, check_every_class_occurs
from cmlm_kd.errors import UserError


def test_cola_has_no_header(tmp_path):
    folder = write(tmp_path / "train.tsv", "gj04\t1\t\tThey sang.", "gj04\t0\t*\tSang they the.")
    examples = read(folder, "CoLA")
    assert examples.first == ["They sang.", "Sang they the."] and examples.second is None
    assert examples.labels == ("unacceptable", "acceptable") and examples.target.tolist() == [1, 0]


def test_colas_test_set_has_a_header_and_no_labels(tmp_path):
    folder = write(tmp_path / "test.tsv", "index\tsentence", "0\tThey sang.")
    assert read(folder, "CoLA", "test", label_optional=True).target is None
    with pytest.raises(
        UserError, match="line 1: there is no column 'label'; the header has 'index', 'sentence'"
    ):
        read(folder, "CoLA", "test")


def test_mrpc_has_a_byte_order_mark_and_stray_quotes(tmp_path):
    """A quote that opens a field must not swallow the lines up to the next one."""
    folder = write(
        tmp_path / "train.tsv",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        '1\t12\t13\t" He said so .\tHe said " so " .',
        '0\t14\t15\tShe left .\tHe said it " .',
        end="\r\n",
    )
    examples = read(folder, "MRPC")
    assert examples.first == ['" He said so .', "She left ."]
    assert examples.second == ['He said " so " .', 'He said it " .'] and examples.target.tolist() == [1, 0]


def test_qqp_as_published(tmp_path):
    """Some lines of the published file are short, others have a question of nothing."""
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    rows = ["7\t1\t2\tHow so?\tWhy?\t1", "8\t3\t4\tHow?\t\t0"]
    folder = write(tmp_path / "train.tsv", header, *rows)
    examples = read(folder, "QQP")
    assert examples.first == ["How so?", "How?"] and examples.second == ["Why?", ""]
    assert examples.labels == ("not_duplicate", "duplicate") and examples.target.tolist() == [1, 0]
    short = write(tmp_path / "short" / "train.tsv", header, rows[0], "9\t5\t6\tWhat is", rows[1])
    with pytest.raises(UserError, match=r"line 3: 4 columns instead of 6 .*--skip-malformed-rows"):
        read(short, "QQP")
    kept = read(short, "QQP", skip_malformed=True)
    assert len(kept) == 2 and kept.place(1) == f"{short / 'train.tsv'}, line 4"


def test_wnli_as_published(tmp_path):
    rows = ("0\tI stuck a pin. It had a hole.\tThe pin had a hole.\t1", "1\tHe ran.\tShe ran.\t0")
    folder = write(tmp_path / "train.tsv", "index\tsentence1\tsentence2\tlabel", *rows)
    examples = read(folder, "WNLI")
    assert examples.first[0].startswith("I stuck") and examples.second == ["The pin had a hole.", "She ran."]
    assert examples.labels == ("not_entailment", "entailment") and examples.target.tolist() == [1, 0]
    write(tmp_path / "test.tsv", "index\tsentence1\tsentence2", "0\tHe ran.\tShe ran.")
    assert read(folder, "WNLI", "test", label_optional=True).target is None


def test_sts_b_has_scores(tmp_path):
    examples = read(write_pairs(tmp_path, "STS-B"), "STS-B")
    assert examples.labels == () and examples.target.dtype == np.float32
    assert examples.target.min() >= 0 and examples.target.max() <= 5 and len(examples.second) == len(examples)


def test_mnlis_splits_have_different_columns(tmp_path):
    columns = ["index", "pairID", "sentence1", "sentence2", "label1"]
    write(tmp_path / "train.tsv", "\t".join([*columns, "gold_label"]), "0\ta\tx\ty\tneutral\tneutral")
    write(
        tmp_path / "dev_matched.tsv",
        "\t".join([*columns, "label2", "gold_label"]),
        "0\ta\tx\ty\tneutral\tneutral\tcontradiction",
    )
    assert read(tmp_path, "MNLI").target.tolist() == [1]
    assert read(tmp_path, "MNLI", "valid").target.tolist() == [2]
    with pytest.raises(UserError, match=r"dev_mismatched.tsv does not exist"):
        read(tmp_path, "MNLI", "dev_mismatched")


def test_sick_in_both_readings(tmp_path):
    """The test file has an empty last column and carriage returns."""
    header = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\t"
    folder = write(tmp_path / "SICK_test_annotated.txt", header, "6\ta b\tc d\t3.3\tNEUTRAL\t", end="\r\n")
    assert read(folder, "SICK-E", "test").target.tolist() == [1]
    assert read(folder, "SICK-R", "test").target.tolist() == [pytest.approx(3.3)]


def test_plain_text_of_sentences_and_pairs(tmp_path):
    folder = write(tmp_path / "train.tsv", "so good\tpos", "so bad\tneg", "fine\tpos", "")
    examples = read(folder, "text")
    assert examples.labels == ("neg", "pos") and examples.target.tolist() == [1, 0, 1]
    assert read(folder, "text", labels=("pos", "neg")).target.tolist() == [0, 1, 0]
    write(tmp_path / "pairs.tsv", "a\tb\t1.5", "c\td\t-2")
    pairs = read(tmp_path, "text", file="pairs.tsv", regression=True)
    assert pairs.second == ["b", "d"] and pairs.target.tolist() == [1.5, -2.0]


@pytest.mark.parametrize("corpus", ["text", "SST-2"])
def test_a_gzipped_file_stands_for_the_plain_one(tmp_path, corpus):
    lines = ["so good\t1", "so bad\t0"]
    header = ["sentence\tlabel"] if corpus == "SST-2" else []
    (tmp_path / "train.tsv.gz").write_bytes(gzip.compress("\n".join([*header, *lines, ""]).encode()))
    assert read(tmp_path, corpus).target.tolist() == [1, 0]
    write(tmp_path / "train.tsv", *header, "fine\t1", "dull\t0", "poor\t0")
    assert len(read(tmp_path, corpus)) == 3, "the plain one, where both are there"


def test_a_missing_dev_set_mentions_hold_out(tmp_path):
    with pytest.raises(UserError, match=r"dev.tsv does not exist; .* with --hold-out 0.1"):
        read(tmp_path, "text", "valid")
    with pytest.raises(UserError, match=r"train.tsv does not exist; give a text file, plain or gzipped$"):
        read(tmp_path, "text")


@pytest.mark.parametrize(
    ("line", "pairs", "second"),
    [("good film", None, None), ("good film", False, None), ("a\tb", True, ["b"]), ("a\tb", None, ["b"])],
)
def test_plain_text_without_labels_where_they_may_be_missing(tmp_path, line, pairs, second):
    write(tmp_path / "test.tsv", line)
    options = {"label_optional": True, "labels": ("pos", "neg"), "pairs": pairs}
    examples = read(tmp_path, "text", "test", **options)
    assert examples.target is None and examples.second == second and examples.labels == ("pos", "neg")
    write(tmp_path / "test.tsv", "a film\tpos")
    assert read(tmp_path, "text", "test", **{**options, "pairs": False}).target.tolist() == [0]


def test_line_separators_inside_a_sentence_are_text(tmp_path):
    folder = write(tmp_path / "train.tsv", "a\u2028b\x0cc\tx", "d\ty")
    assert read(folder, "text").first == ["a\u2028b\x0cc", "d"]


# -- bad input: file and line -------------------------------------------------------------------------


def test_the_place_of_an_example_outlives_a_hold_out(tmp_path):
    examples = read(write(tmp_path / "train.tsv", *(f"text {i}\t{i % 2}" for i in range(20))), "text")
    for part in hold_out(examples, 0.3, 1):
        for row, text in enumerate(part.first):
            assert part.place(row) == f"{tmp_path / 'train.tsv'}, line {int(text.split()[1]) + 1}"


def test_classes_that_are_integers_stand_in_their_order(tmp_path):
    numbers = write(tmp_path / "numbers" / "train.tsv", *(f"text\t{label}" for label in (10, 2, 0, 1, -1)))
    assert read(numbers, "text").labels == ("-1", "0", "1", "2", "10")
    assert read(numbers, "text").target.tolist() == [4, 3, 1, 2, 0]
    mixed = write(tmp_path / "mixed" / "train.tsv", "text\t10", "text\t2", "text\tx")
    assert read(mixed, "text").labels == ("10", "2", "x")
    chosen = ("10", "2", "1", "0", "-1")  # such as those of a model
    assert read_examples(numbers, "train", ReadingOptions.for_model("text", chosen)).labels == chosen


def warnings_in(caplog):
    """Return what was warned of; a test before this one may have asked for more of the log."""
    return [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_header_of_plain_text_is_suspected(tmp_path, caplog):
    lines = ["fine\tgood", "dull\tbad", "great\tgood", "weak\tbad"]
    assert read(write(tmp_path / "with" / "train.tsv", "text\tlabel", *lines), "text").labels[-1] == "label"
    (record,) = warnings_in(caplog)
    assert (
        "train.tsv, line 1: no other line has the class 'label'; if this is a header" in record.getMessage()
    )
    read(write(tmp_path / "without" / "train.tsv", *lines), "text")
    read(write(tmp_path / "few" / "train.tsv", "fine\tgood", "dull\tbad"), "text")
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        (
            ["dull\tbad\t0", "fun\tgood\t1", "weak\tbad\t0", "great\tgood\t1"],
            "column 2 is read as sentences, but each",
        ),
        (
            ["4\tdull\tbad", "7\tfun\tgood", "2\tweak\tbad"],
            r"column 1 .* \(4, 7, \.\.\.\), as of an index; if they",
        ),
        (["4\tbad", "7\tgood", "2\tbad"], "column 1 is read as .* as of an index; .* take the column out"),
        (["dull\tnot fun\t1", "fun\tnot dull\t1", "weak\tnot dull\t0", "weak\tnot fun\t0"], ""),
        (["a\tx\t0", "b\ty\t1"], ""),
        (["4\tx", "4\ty"], ""),
    ],
)
def test_columns_that_are_no_sentences_are_suspected(tmp_path, rows, warning, caplog):
    folder = write(tmp_path / "train.tsv", *rows)
    with caplog.at_level("INFO"):
        examples = read(folder, "text")
    told, *warnings = [record.getMessage() for record in caplog.records]
    columns = "column 1, labels from column 2" if examples.second is None else "column 1 and column 2, labels"
    assert f"train.tsv: sentences are read from {columns}" in told
    assert len(warnings) == bool(warning) and all(re.search(warning, found) for found in warnings)


def test_an_index_beside_texts_without_labels_is_suspected(tmp_path, caplog):
    read(write(tmp_path / "train.tsv", "1\ta", "2\tb"), "text", labels=("x", "y"), unlabelled=True)
    assert "column 1 is read as sentences, but each is another whole number (1, 2, ...)" in caplog.text


def test_the_held_out_share_depends_on_the_seed_alone():
    examples = Examples([str(i) for i in range(50)], None, np.arange(50) % 2, ("x", "y"), "s")
    train, held = hold_out(examples, 0.1, seed=1)
    assert len(held) == 5 and sorted([*map(int, train.first), *map(int, held.first)]) == list(range(50))
    assert [int(text) % 2 for text in train.first] == train.target.tolist()
    assert hold_out(examples, 0.1, seed=1)[1].first == held.first != hold_out(examples, 0.1, seed=2)[1].first
    for share in (0.0, 1.0, -0.1, 0.001, float("nan")):
        with pytest.raises(UserError, match="--hold-out is"):
            hold_out(examples, share, seed=1)


@pytest.mark.parametrize("corpus", ["SST-2", "RTE", "STS-B", "CoLA", "MRPC", "text"])
def test_what_is_written_is_read_again(tmp_path, corpus):
    pair = corpus in ("RTE", "STS-B", "MRPC")
    labels = {"RTE": ("entailment", "not_entailment"), "MRPC": ("not_equivalent", "equivalent")}.get(
        corpus,
        {"CoLA": ("unacceptable", "acceptable"), "SST-2": ("negative", "positive")}.get(corpus, ("x", "y")),
    )
    scores = corpus == "STS-B"
    examples = Examples(
        ['a "b\tc', "d  e"],
        ["f", "g\nh"] if pair else None,
        np.array([1.5, 4.25], np.float32) if scores else np.array([1, 0]),
        () if scores else labels,
        "made",
    )
    write_examples(tmp_path / "aug.tsv", corpus, examples)
    again = read(tmp_path, corpus, file="aug.tsv")
    assert again.first == ['a "b c', "d e"] and again.second == (["f", "g h"] if pair else None)
    assert again.target.tolist() == examples.target.tolist() and again.labels == examples.labels
    write_examples(tmp_path / "text.tsv", corpus, examples, labelled=False)
    text = read(tmp_path, corpus, file="text.tsv", unlabelled=True, labels=labels if corpus == "text" else ())
    assert (text.first, text.second) == (again.first, again.second) and text.target is None


def test_some_examples_keep_their_labels():
    examples = Examples([str(i) for i in range(50)], None, np.arange(50) % 2, ("x", "y"), "s")
    few = with_labels(examples, 20, seed=1)
    assert len(few) == 20 and few.first == sorted(few.first, key=int)
    assert [int(text) % 2 for text in few.first] == few.target.tolist()
    assert with_labels(examples, 20, seed=1).first == few.first != with_labels(examples, 20, seed=2).first
    held = hold_out(few, 0.25, seed=1)[1]
    rest = without(examples, held)
    assert len(rest) == 45 and rest.first == [text for text in examples.first if text not in held.first]
    for count in (0, -1, 50, 51):
        with pytest.raises(
            UserError, match=f"--labelled is {count}; s has 50 examples: keep the labels of 1 to 49"
        ):
            with_labels(examples, count, seed=1)


def test_the_text_hash_knows_where_sentences_end():
    def hashed(first, second=None):
        return Examples(first, second, None, (), "s").text_hash()

    different = [hashed(["ab", "c"]), hashed(["a", "bc"]), hashed(["ab"], ["c"]), hashed(["c", "ab"])]
    assert len(set(different)) == 4 and hashed(["ab", "c"]) == different[0]


@pytest.mark.real
@pytest.mark.parametrize(
    ("corpus", "folder", "train", "valid"),
    [
        ("CoLA", "glue/CoLA", 8551, 1043),
        ("SST-2", "glue/SST-2", 67349, 872),
        ("MRPC", "glue/MRPC", 3667, 408),
        ("RTE", "glue/RTE", 2490, 277),
        ("STS-B", "glue/STS-B", 5749, 1500),
        ("SICK-E", "sick", 4500, 500),
        ("SICK-R", "sick", 4500, 500),
    ],
)
def test_real_corpora_are_read_whole(shared_dir, corpus, folder, train, valid):
    examples = read(shared_dir / "data" / folder, corpus)
    check_every_class_occurs(examples)
    assert len(examples) == train
    assert len(read(shared_dir / "data" / folder, corpus, "valid")) == valid


def test_texts_without_labels(tmp_path):
    folder = write(tmp_path / "train.tsv", "a film", "a plot")
    examples = read(folder, "text", labels=("bad", "good"), unlabelled=True)
    assert examples.first == ["a film", "a plot"] and examples.target is None and examples.second is None
    assert examples.labels == ("bad", "good")
    pairs = write(tmp_path / "pairs" / "train.tsv", "a\tb", "c\td")
    assert read(pairs, "text", labels=("bad", "good"), unlabelled=True).second == ["b", "d"]
    with pytest.raises(UserError, match="nothing says which classes there are; name them with --labels"):
        read(folder, "text", unlabelled=True)
    wide = write(tmp_path / "wide" / "train.tsv", "a\tb\tc")
    with pytest.raises(UserError, match="line 1: 3 columns; a line without label is text or text<TAB>text"):
        read(wide, "text", labels=("bad", "good"), unlabelled=True)
    labelled = write_sst2(tmp_path / "SST-2", train=5)
    assert read(labelled, "SST-2", unlabelled=True).target is None
