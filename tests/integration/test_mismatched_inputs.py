"""Sets, models and checkpoints that do not belong together, and that would be taken in silence."""

import re

import pytest
from classification_runs import distilling, logged_run, write_root
from datasets import Dataset, DatasetDict
from fairseq_cli import train
from fairseq_runs import exit_of, run_train
from tiny_classification import LABELS, classification, make_tokenizer, sentences, write_bert, write_pairs
from transformers import BartConfig, BartForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

from cmlm_kd.cli import main
from cmlm_kd.evaluation.training_log import read_validations


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("belonging"))


@pytest.fixture(scope="module")
def trained(root):
    """A checkpoint of single sentences."""
    run_train(*classification(root / "data", root / "trained", bert=root / "encoder"))
    return root / "trained" / "checkpoint_last.pt"


def refused(*flags):
    """The message of a run that must fail before its first checkpoint."""
    status, errors = exit_of(train, *flags)
    assert status == 1 and "Traceback" not in errors and errors.count("\n") == 1, errors
    return errors


# -- single sentences and pairs -------------------------------------------------------------------------


def write_text(folder, train_pairs, dev_pairs):
    folder.mkdir()
    for name, pairs, seed in (("train", train_pairs, 1), ("dev", dev_pairs, 2)):
        rows = [
            f"{text}\t{text}\t{label}" if pairs else f"{text}\t{label}" for text, label in sentences(24, seed)
        ]
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("arch", ["bert_classifier", "bilstm_classifier"])
@pytest.mark.parametrize("pairs", [True, False])
def test_a_dev_set_of_another_form_is_refused(root, tmp_path, arch, pairs):
    data = write_text(tmp_path / "data", pairs, not pairs)
    model = ("--bert", root / "encoder") if arch == "bert_classifier" else ()
    errors = refused(
        *(data, "--task", "classification_kd", "--arch", arch, *model, "--optimizer", "adam", "--cpu"),
        *("--criterion", "sentence_classification", "--save-dir", tmp_path / "s", "--batch-size", 8),
    )
    kinds = ["single sentences", "pairs of sentences"]
    assert f"dev.tsv has {kinds[not pairs]}, the training set has {kinds[pairs]}" in errors


def test_a_dataset_whose_splits_differ_is_refused(root, tmp_path):
    columns = {"text": ["good", "bad"] * 4, "label": ["0", "1"] * 4}
    splits = {
        "train": Dataset.from_dict(columns),
        "validation": Dataset.from_dict(
            {"text1": columns["text"], "text2": columns["text"], "label": columns["label"]}
        ),
    }
    DatasetDict(splits).save_to_disk(tmp_path / "saved")
    flags = classification(tmp_path / "saved", tmp_path / "s", bert=root / "encoder", corpus="huggingface")
    assert "saved (valid) has pairs of sentences, the training set has single sentences" in refused(*flags)


def test_evaluate_reads_what_the_student_was_trained_on(trained, tmp_path, capsys):
    data = write_text(tmp_path / "data", True, True)
    status = main(
        ["evaluate", str(data), "--corpus", "text", "--model", f"s={trained}", "--model-labels", "0,1"]
    )
    errors = capsys.readouterr().err
    assert status == 2 and "dev.tsv has pairs of sentences, s reads single sentences" in errors


def test_an_exported_directory_says_what_it_reads(root, trained, tmp_path, capsys):
    """To evaluation and as a teacher; what starts from it learns to read what it is trained on."""
    exported, data = tmp_path / "exported", write_text(tmp_path / "data", True, True)
    evaluate = ["evaluate", str(data), "--corpus", "text", "--model"]
    assert main(["export", str(trained), "--output", str(exported)]) == 0
    assert main([*evaluate, f"s={exported}", "--model-labels", "0,1"]) == 2
    assert "dev.tsv has pairs of sentences, s reads single sentences" in capsys.readouterr().err
    flags = classification(data, tmp_path / "s", bert=exported, corpus="text", criterion="pkd")
    flags = (*flags, "--teacher", exported, "--teacher-labels", "0,1", "--kd-beta", 0)
    assert f"train.tsv has pairs of sentences, teacher {exported} reads single sentences" in refused(*flags)

    run_train(*classification(data, tmp_path / "t", bert=exported, corpus="text"))
    checkpoint, again = tmp_path / "t" / "checkpoint_last.pt", tmp_path / "again"
    assert main(["export", str(checkpoint), "--output", str(again)]) == 0
    for model in (checkpoint, again):
        assert main([*evaluate, f"s={model}"]) == 0


# -- files of data sets saved on disk -------------------------------------------------------------------


def test_a_saved_dataset_has_no_files(root, tmp_path, capsys):
    """An augmented training set would not be read."""
    Dataset.from_dict({"text": ["good", "bad"] * 4, "label": ["0", "1"] * 4}).save_to_disk(tmp_path / "saved")
    flags = classification(tmp_path / "saved", tmp_path / "s", bert=root / "encoder", corpus="huggingface")
    errors = refused(*flags, "--train-file", "augmented.tsv", "--hold-out", 0.25)
    assert (
        "a dataset saved on disk has splits, no files such as 'augmented.tsv'; read that file with" in errors
    )


# -- checkpoints ----------------------------------------------------------------------------------------


def test_another_tokenizer_than_the_checkpoints_is_refused(root, trained, tmp_path, capsys):
    other = write_bert(tmp_path / "other", labels=None)
    words = (
        make_tokenizer()
        .backend_tokenizer.to_str()
        .replace('"good":', '"swapped":')
        .replace('"bad":', '"good":')
    )
    (other / "tokenizer.json").write_text(words.replace('"swapped":', '"bad":'))
    flags = classification(root / "data", tmp_path / "s", "--finetune-from-model", trained, bert=other)
    assert "reads other ids than this student: its tokenizer" in refused(*flags)
    for command in (["export", "--output", tmp_path / "e"], ["evaluate", root / "data", "--corpus", "SST-2"]):
        model = [trained] if command[0] == "export" else []
        named = [
            *command[:1],
            *model,
            *command[1:],
            *([] if model else ["--model", trained]),
            "--tokenizer",
            other,
        ]
        assert main([str(part) for part in named]) == 2
        assert "was trained with another tokenizer than that of" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()


def test_other_words_than_the_checkpoints_are_refused(root, tmp_path):
    flags = ("--task", "classification_kd", "--arch", "bilstm_classifier", "--hidden-size", 6, "--fc-size", 8)
    flags += ("--optimizer", "adadelta", "--criterion", "sentence_classification", "--cpu", "--batch-size", 8)
    flags += ("--max-update", 2, "--no-progress-bar", "--corpus", "SST-2", "--save-dir", tmp_path / "s")
    run_train(root / "data", *flags)
    changed = tmp_path / "changed"
    changed.mkdir()
    for name in ("train.tsv", "dev.tsv"):  # as many words, one of them another
        (changed / name).write_text((root / "data" / name).read_text().replace("superb", "brilliant"))
    assert "the list of its words" in refused(changed, *flags, "--max-update", 4)


def test_a_projection_begins_anew_after_a_criterion_without(root, trained, tmp_path):
    run_train(*distilling(root, tmp_path / "s", "--finetune-from-model", trained, criterion="tinybert_kd"))
    errors = refused(
        *distilling(
            root, tmp_path / "s", "--max-update", 4, "--kd-projection", "shared", criterion="tinybert_kd"
        )
    )
    assert re.search(
        r"its optimizer has .* in place \d+, this training .*; give the criterion and settings", errors
    )


# -- teachers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("bart", "reads hidden states, which teacher .* does not give"),
        ("gpt2", "do not stand for the whole text"),
    ],
)
def test_teachers_without_a_first_position_teach_logits_alone(root, tmp_path, kind, message):
    tokenizer = make_tokenizer()
    sizes = {
        "vocab_size": len(tokenizer),
        "pad_token_id": 0,
        "eos_token_id": 3,
        "id2label": dict(enumerate(LABELS)),
    }
    if kind == "bart":
        layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "d_model": 16}
        config = BartConfig(**sizes, **layers, **heads, max_position_embeddings=40)
        model = BartForSequenceClassification(config)
    else:
        model = GPT2ForSequenceClassification(
            GPT2Config(**sizes, n_embd=16, n_layer=2, n_head=2, n_positions=40)
        )
    model.save_pretrained(tmp_path / kind)
    tokenizer.save_pretrained(tmp_path / kind)
    flags = ("--kd-layer-map", "1:1")
    run_train(
        *distilling(root, tmp_path / "s", *flags, "--kd-beta", 0, "--no-save", teacher=str(tmp_path / kind))
    )
    errors = refused(*distilling(root, tmp_path / "s", *flags, teacher=str(tmp_path / kind)))
    assert re.search(f"pkd: .*{message}", errors)


# -- metrics --------------------------------------------------------------------------------------------


def test_f1_is_of_the_same_class_in_any_order(root, tmp_path):
    write_pairs(tmp_path / "data")
    for name in ("train", "dev"):  # as MRPC has them
        lines = (tmp_path / "data" / f"{name}.tsv").read_text().splitlines()[1:]
        rows = [line.split("\t") for line in lines]
        found = [f"{int(row[3] == 'entailment')}\t{row[0]}\t{row[0]}\t{row[1]}\t{row[2]}" for row in rows]
        header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
        (tmp_path / "data" / f"{name}.tsv").write_text("\n".join([header, *found]) + "\n")
    scores = {}
    for order in ("not_equivalent,equivalent", "equivalent,not_equivalent"):
        log = tmp_path / f"{order}.log"
        flags = ("--labels", order, "--lr", 0, "--no-save")
        data, save_dir = tmp_path / "data", tmp_path / "s"
        logged_run(log, *classification(data, save_dir, *flags, bert=root / "encoder", corpus="MRPC"))
        (point,) = read_validations(log)
        scores[order] = point.measures
    first, second = scores.values()
    # The same random head, whose two classes change places: what was right is wrong, and the other way round.
    assert first["accuracy"] + second["accuracy"] == pytest.approx(100)
    assert first["f1"] != second["f1"]
