"""Datasets that Hugging Face's library saved on disk: columns, labels, and what is refused."""

import pytest
from corpus_files import read

from cmlm_kd.errors import UserError


def test_a_saved_dataset(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["yes", "no"]),
            "idx": datasets.Value("int32"),
        }
    )
    rows = {"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": [1, 0], "idx": [0, 1]}
    train = datasets.Dataset.from_dict(rows, features=features)
    unlabelled = datasets.Dataset.from_dict({**rows, "label": [-1, -1]}, features=features)
    datasets.DatasetDict({"train": train, "validation": train, "test": unlabelled}).save_to_disk(
        tmp_path / "d"
    )
    examples = read(tmp_path / "d", "huggingface", "valid")
    assert examples.second == ["c", "d"] and examples.labels == ("yes", "no")
    assert examples.target.tolist() == [1, 0]
    assert read(tmp_path / "d", "huggingface", text_columns=("premise",)).second is None
    assert read(tmp_path / "d", "huggingface", "test", label_optional=True).target is None
    with pytest.raises(
        UserError, match=r"\(test\), row 0: there is no label \(-1\); correct the row, or leave"
    ):
        read(tmp_path / "d", "huggingface", "test")
    with pytest.raises(UserError, match="has no split 'other'; it has 'train', 'validation', 'test'"):
        read(tmp_path / "d", "huggingface", "other")
    with pytest.raises(UserError, match="columns of strings are 'premise', 'hypothesis'; name one or two"):
        read(tmp_path / "d", "huggingface", text_columns=("title",))
    with pytest.raises(UserError, match="is no dataset saved on disk"):
        read(tmp_path, "huggingface")


def test_saved_scores_and_labels_of_strings(tmp_path):
    datasets = pytest.importorskip("datasets")
    scores = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0.5, 2.0]})
    scores.save_to_disk(tmp_path / "scores")
    assert read(tmp_path / "scores", "huggingface").target.tolist() == [0.5, 2.0]
    with pytest.raises(UserError, match=r"one dataset without splits.*--hold-out"):
        read(tmp_path / "scores", "huggingface", "valid")
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", "w"]}).save_to_disk(tmp_path / "named")
    assert read(tmp_path / "named", "huggingface").labels == ("w", "x")
    datasets.Dataset.from_dict({"text": ["a"], "class": ["x"]}).save_to_disk(tmp_path / "other")
    with pytest.raises(UserError, match="there is no column 'label'; it has 'text', 'class'"):
        read(tmp_path / "other", "huggingface")


@pytest.mark.parametrize("beside", ["label_text", "__index_level_0__", "id"])
def test_a_second_column_of_strings_is_no_second_sentence(tmp_path, beside, caplog):
    """The label in words, or an index that pandas left, beside the text and its label."""
    datasets = pytest.importorskip("datasets")
    rows = {beside: ["x", "y"], "text": ["a", "b"], "label": [0, 1]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "d")
    examples = read(tmp_path / "d", "huggingface")
    assert (examples.first, examples.second) == (["a", "b"], None)
    assert "sentences are read from 'text'" in caplog.text  # as a warning, which commands show
    assert read(tmp_path / "d", "huggingface", text_columns=("text", beside)).second == ["x", "y"]


def test_a_column_that_is_chosen_and_is_no_sentence_is_suspected(tmp_path, caplog):
    datasets = pytest.importorskip("datasets")
    rows = {"text": ["a", "b", "c", "d"], "label_text": ["x", "y", "x", "y"], "label": [0, 1, 0, 1]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "d")
    read(tmp_path / "d", "huggingface", text_columns=("text", "label_text"))
    (record,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert "'label_text' is read as sentences, but each of them ('x', 'y', ...) goes" in record.getMessage()
    assert "with a label of its own; if they are none, name the columns" in record.getMessage()


@pytest.mark.parametrize("chosen", [("label",), ("words",), ("text", "text"), ("text", "label")])
def test_columns_of_other_types_are_no_sentences(tmp_path, chosen):
    """The label would be its own explanation, a list would be spelled as Python shows it."""
    datasets = pytest.importorskip("datasets")
    rows = {"text": ["a b", "c"], "words": [["a", "b"], ["c"]], "label": [0, 1]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "d")
    with pytest.raises(UserError, match="columns of strings are 'text'; name one or two with --text-columns"):
        read(tmp_path / "d", "huggingface", text_columns=chosen)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"title": ["a"], "body": ["b"], "label": [0]}, "cannot tell the sentences: .* --text-columns"),
        ({"text": ["a", "b"], "label": [0.0, 1.0]}, "whole numbers in a column of floats.*--regression"),
    ],
)
def test_what_a_saved_dataset_does_not_say_is_asked(tmp_path, rows, message):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "d")
    with pytest.raises(UserError, match=message):
        read(tmp_path / "d", "huggingface")


def test_strings_of_every_arrow_type_are_sentences(tmp_path):
    datasets, arrow = pytest.importorskip("datasets"), pytest.importorskip("pyarrow")
    for name in ("string", "large_string", "string_view"):
        texts = arrow.array(["a b", "c"], getattr(arrow, name)())
        datasets.Dataset(arrow.table({"text": texts, "label": [0, 1]})).save_to_disk(tmp_path / name)
        assert read(tmp_path / name, "huggingface").first == ["a b", "c"]


@pytest.mark.parametrize("options", [{}, {"regression": True}, {"label_optional": True}])
def test_a_label_of_several_values_is_refused(tmp_path, options):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [[0, 1], [1]]}).save_to_disk(tmp_path / "d")
    with pytest.raises(UserError, match=r"column 'label' has values of type \w+\(.*int64.*; make it one"):
        read(tmp_path / "d", "huggingface", **options)


@pytest.mark.parametrize(
    ("given", "labels", "kept"),
    [
        ([0, -1, 1], ("0", "1"), [0, 1]),  # as the hub's test sets have it
        ([0, None, 1], ("0", "1"), [0, 1]),
        (["x ", None, " y"], ("x", "y"), [0, 1]),
        (["x", " ", "x "], ("x",), [0, 0]),
        ([0.5, None, 1.0], (), [0.5, 1.0]),
    ],
)
def test_saved_rows_without_a_label_are_refused_or_left_out(tmp_path, given, labels, kept):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": given}).save_to_disk(tmp_path / "d")
    with pytest.raises(
        UserError, match=r"row 1: there is no label \(.*\); .* out with --skip-malformed-rows"
    ):
        read(tmp_path / "d", "huggingface")
    examples = read(tmp_path / "d", "huggingface", skip_malformed=True)
    assert examples.first == ["a", "c"] and examples.place(1).endswith("(train), row 2")
    assert examples.labels == labels and examples.target.tolist() == kept


def test_minus_one_is_no_class_of_whole_numbers_and_may_be_one_of_strings(tmp_path):
    datasets = pytest.importorskip("datasets")
    for name, given in (("numbers", [-1, 1]), ("strings", ["-1", "1"]), ("none", [-1, -1])):
        datasets.Dataset.from_dict({"text": ["a", "b"], "label": given}).save_to_disk(tmp_path / name)
    with pytest.raises(UserError, match="if -1 is a class, give the labels as strings"):
        read(tmp_path / "numbers", "huggingface")
    assert read(tmp_path / "strings", "huggingface").labels == ("-1", "1")
    assert read(tmp_path / "numbers", "huggingface", regression=True).target.tolist() == [-1.0, 1.0]
    found = read(tmp_path / "none", "huggingface", label_optional=True, labels=("0", "1"))
    assert found.target is None and found.labels == ("0", "1")
    with pytest.raises(UserError, match=r"nothing says which classes there are; .* to ClassLabel"):
        read(tmp_path / "none", "huggingface", label_optional=True)


def test_saved_words_are_no_scores(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["1.5", "x"]}).save_to_disk(tmp_path / "d")
    with pytest.raises(UserError, match="row 1: score 'x' is not a number"):
        read(tmp_path / "d", "huggingface", regression=True)


def test_whole_scores_are_scores_where_that_is_said(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0.0, 1.0]}).save_to_disk(tmp_path / "d")
    assert read(tmp_path / "d", "huggingface", regression=True).target.tolist() == [0.0, 1.0]


def test_a_class_number_without_a_name_is_refused_with_its_row(tmp_path):
    datasets = pytest.importorskip("datasets")
    train = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 2]})
    train.cast_column("label", datasets.ClassLabel(names=["no", "yes"])).save_to_disk(tmp_path / "d")
    with pytest.raises(
        UserError, match="row 1: label 2 has no name; the column names 2 classes, 'no', 'yes'"
    ):
        read(tmp_path / "d", "huggingface")


def test_saved_datasets_without_labels(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(str(tmp_path / "bare"))
    found = read(tmp_path / "bare", "huggingface", labels=("no", "yes"), unlabelled=True)
    assert found.first == ["a", "b"] and found.target is None and found.labels == ("no", "yes")
    with pytest.raises(UserError, match="name them with --labels"):
        read(tmp_path / "bare", "huggingface", unlabelled=True)
