"""What the readers of corpora refuse: one line with the file, the line and the remedy."""

import numpy as np
import pytest
from corpus_files import read, write
from tiny_classification import write_sst2

from cmlm_kd.data.classification.examples import Examples, check_every_class_occurs
from cmlm_kd.errors import UserError


def test_an_unknown_label(tmp_path):
    folder = write_sst2(tmp_path)
    lines = (folder / "dev.tsv").read_text().splitlines()
    write(folder / "dev.tsv", *lines[:3], "very fine\tmaybe", *lines[3:])
    with pytest.raises(
        UserError, match=r"dev.tsv, line 4: label 'maybe' is none of '0', '1'; correct the line"
    ):
        read(folder, "SST-2", "valid")


@pytest.mark.parametrize(
    ("line", "missing"),
    [("a film\t", "label"), ("\tgood", "text"), (" \tgood", "text"), ("a film\t ", "label")],
)
def test_plain_text_without_a_sentence_or_a_label(tmp_path, line, missing):
    folder = write(tmp_path / "train.tsv", "fine\tgood", line, "dull\tbad")
    with pytest.raises(
        UserError, match=f"train.tsv, line 2: the {missing} is empty; .*--skip-malformed-rows"
    ):
        read(folder, "text")
    kept = read(folder, "text", skip_malformed=True)
    assert kept.first == ["fine", "dull"] and kept.labels == ("bad", "good")


def test_plain_text_without_a_sentence_or_a_label_in_pairs_scores_and_unlabelled(tmp_path):
    pairs = write(tmp_path / "pairs" / "train.tsv", "a\tb\tyes", "a\t\tno")
    with pytest.raises(UserError, match="line 2: the second text is empty"):
        read(pairs, "text")
    scores = write(tmp_path / "scores" / "train.tsv", "a\t1.5", "b\t")
    with pytest.raises(UserError, match="line 2: the label is empty"):
        read(scores, "text", regression=True)
    texts = write(tmp_path / "texts" / "train.tsv", "a film", "", "a plot")
    with pytest.raises(UserError, match="line 2: the text is empty"):
        read(texts, "text", labels=("x", "y"), unlabelled=True)


@pytest.mark.parametrize("nothing", [None, "", " "])
def test_a_saved_dataset_without_a_sentence(tmp_path, nothing):
    datasets = pytest.importorskip("datasets")
    rows = {"text": ["a film", nothing, "a plot"], "label": ["x", "y", "z"]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(
        UserError, match=r"\(train\), row 1: a sentence is empty \(text .*--skip-malformed-rows"
    ):
        read(tmp_path / "d", "huggingface")
    kept = read(tmp_path / "d", "huggingface", skip_malformed=True)
    assert kept.first == ["a film", "a plot"] and kept.labels == ("x", "z")
    assert kept.place(1).endswith("(train), row 2")


def test_an_unknown_label_of_plain_text(tmp_path):
    folder = write(tmp_path / "dev.tsv", "a\tx", "b\tz")
    with pytest.raises(
        UserError, match=r"dev.tsv, line 2: label 'z' is none of 'x', 'y'.*--labels, .*--model-labels"
    ):
        read(folder, "text", "valid", labels=("x", "y"))


def test_a_row_with_missing_columns(tmp_path):
    folder = write(
        tmp_path / "train.tsv", "index\tsentence1\tsentence2\tlabel", "0\ta\tb\tentailment", "1\tc"
    )
    with pytest.raises(
        UserError, match=r"train.tsv, line 3: 2 columns instead of 4 .*: '1\\\\tc'; .*--skip-malformed-rows"
    ):
        read(folder, "RTE")
    assert len(read(folder, "RTE", skip_malformed=True)) == 1


def test_a_stray_quote_that_was_meant_to_protect_a_tab(tmp_path):
    folder = write(tmp_path / "train.tsv", "sentence\tlabel", '"a good\tfilm"\t1', "bad\t0")
    with pytest.raises(UserError, match=r"line 2: 3 columns instead of 2 .*quotes are text here"):
        read(folder, "SST-2")


def test_a_quote_that_was_meant_to_protect_a_line_end(tmp_path):
    folder = write(tmp_path / "train.tsv", "sentence\tlabel", '"a good', 'film"\t1', "bad\t0")
    with pytest.raises(UserError, match=r"line 2: 1 columns instead of 2 .*quotes are text here"):
        read(folder, "SST-2")


@pytest.mark.parametrize("score", ["six", "nan", "5.5", "-0.1", ""])
def test_a_score_that_is_none(tmp_path, score):
    folder = write(tmp_path / "train.tsv", "sentence1\tsentence2\tscore", "a\tb\t1.0", f"c\td\t{score}")
    with pytest.raises(UserError, match=rf"train.tsv, line 3: score '{score}' is not a number from 0 to 5"):
        read(folder, "STS-B")


def test_the_file_of_another_corpus(tmp_path):
    folder = write_sst2(tmp_path)
    with pytest.raises(
        UserError, match="line 1: there is no column 'sentence1'; the header has 'sentence', 'label'"
    ):
        read(folder, "RTE")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "train.tsv is empty"),
        (["sentence\tlabel"], "train.tsv has no example"),
    ],
)
def test_files_without_examples(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "train.tsv", *lines), "SST-2")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "train.tsv").write_bytes(b"sentence\tlabel\ngood\t1\nb\xff\t0\n")
    with pytest.raises(UserError, match=r"line 3: byte 2 \(0xff\) is not UTF-8"):
        read(tmp_path, "SST-2")


def test_unknown_corpora_answer_with_close_ones(tmp_path):
    with pytest.raises(UserError, match=r"--corpus is 'sst2'; did you mean SST-2.*known are CoLA, SST-2"):
        read(tmp_path, "sst2")


def test_plain_text_of_one_column(tmp_path):
    with pytest.raises(UserError, match="line 1: 1 columns; a line is text<TAB>label"):
        read(write(tmp_path / "train.tsv", "just text"), "text")


def test_labels_that_are_no_classes_of_the_corpus(tmp_path):
    with pytest.raises(
        UserError, match=r"--labels negative,great: 'great' is no class.*'negative', 'positive'"
    ):
        read(write_sst2(tmp_path), "SST-2", labels=("negative", "great"))
    swapped = read(tmp_path, "SST-2", labels=("positive", "negative"))
    assert (swapped.target == 1 - read(tmp_path, "SST-2").target).all()


def test_an_empty_class():
    examples = Examples(["a", "b"], None, np.array([0, 0]), ("x", "y", "z"), "some.tsv")
    with pytest.raises(
        UserError, match=r"some.tsv: no example of class 'y', 'z' .there are 2 of 'x', 0 of 'y'"
    ):
        check_every_class_occurs(examples)
    with pytest.raises(UserError, match="all examples have the label 'x'"):
        check_every_class_occurs(Examples(["a"], None, np.array([0]), ("x",), "some.tsv"))


# -- the rest -----------------------------------------------------------------------------------------
