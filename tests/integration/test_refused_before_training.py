"""What fairseq says at its first validation, in the middle or not at all: said before the first update."""

import re

import pytest
from fairseq_cli import generate, interactive, train
from fairseq_runs import TINY_STUDENT, exit_of, run_interactive, run_train
from omegaconf import OmegaConf
from tiny_classification import classification, write_bert, write_pairs
from tiny_inputs import write_inputs_of_all_tasks
from tiny_multitask import multitask

from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoint_keys import OPTIMIZED
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint, write_checkpoint
from fairseq_plugins.training.before_training import check_optimizer


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_inputs_of_all_tasks(root)
    write_pairs(root / "sts", "STS-B")
    return root


def translation(root, save_dir, *flags):
    return (
        *(
            root / "data",
            "--task",
            "translation_kd",
            "--soft-targets",
            "none",
            "--criterion",
            "soft_target_kd",
        ),
        *("--kd-alpha", 0, *TINY_STUDENT, "--max-tokens", 90, "--max-update", 1, "--no-epoch-checkpoints"),
        *("--save-dir", save_dir, *flags),
    )


def masked_lm(root, save_dir, *flags):
    return (
        *(root / "text", "--task", "masked_lm_kd", "--criterion", "bert_mlm", "--arch", "bert_masked_lm"),
        *("--bert", root / "mlm", "--optimizer", "bert_adamw", "--cpu", "--batch-size", 4, "--max-update", 1),
        *("--no-epoch-checkpoints", "--save-dir", save_dir, *flags),
    )


def flags_of(kind, root, save_dir, *flags):
    if kind == "translation":
        return translation(root, save_dir, *flags)
    if kind == "text":
        return masked_lm(root, save_dir, *flags)
    if kind == "several":
        return multitask(root, save_dir, *flags, corpora="SST-2,QNLI", criterion="sentence_classification")
    corpus = {"classes": ("sst", "SST-2"), "scores": ("sts", "STS-B")}[kind]
    return classification(root / corpus[0], save_dir, *flags, bert=root / "encoder", corpus=corpus[1])


def refused(tmp_path, *flags):
    """The one line with which a training ends before its first update."""
    status, errors = exit_of(train, *flags)
    assert status == 1 and "Traceback" not in errors, errors
    assert not list((tmp_path / "s").glob("*.pt"))
    return errors.splitlines()[-1]


HIGHER = "--maximize-best-checkpoint-metric"


@pytest.mark.parametrize(
    ("kind", "metric", "flags", "message"),
    [
        (
            "translation",
            "bleu",
            (HIGHER,),
            r"metric bleu is nothing .*loss, nll_loss, .*ppl.*takes --eval-bleu",
        ),
        ("translation", "bleu", (), r"metric bleu is nothing .*takes --eval-bleu"),
        ("scores", "accuracy", (HIGHER,), "metric accuracy is nothing .*pearson, .*spearman"),
        ("classes", "pearson", (HIGHER,), "metric pearson is nothing .*accuracy"),
        (
            "several",
            "SST-2_pearson",
            (HIGHER,),
            "metric SST-2_pearson is nothing .*QNLI_mrr.*SST-2_accuracy.*score",
        ),
        ("text", "nl_loss", (), "metric nl_loss is nothing .*mlm_loss"),
        ("classes", "accuracy", (), f"the higher accuracy the better: pass {HIGHER}"),
        ("several", "SST-2_accuracy", (), "the higher SST-2_accuracy the better"),
        ("translation", "nll_loss", (HIGHER,), f"the lower nll_loss the better: leave out {HIGHER}"),
    ],
)
def test_metrics_that_validation_does_not_give(root, tmp_path, kind, metric, flags, message):
    line = refused(
        tmp_path, *flags_of(kind, root, tmp_path / "s", "--best-checkpoint-metric", metric, *flags)
    )
    assert re.search(message, line), line


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("args", "{", r"--eval-bleu-args '{' is no JSON \(.*\); give it as '{\"beam\": 4}'"),
        ("args", "[]", r"--eval-bleu-args '\[\]' is no JSON object"),
        ("args", '{"beam": 0}', "--eval-bleu-args: beam is 0; it must be 1 or more"),
        ("args", '{"beam": "x"}', '--eval-bleu-args: beam is "x"; it must be a whole number'),
        ("args", '{"beam": true}', "--eval-bleu-args: beam is true; it must be a whole number"),
        ("args", '{"lenpen": null}', "--eval-bleu-args: lenpen is null; it must be a number"),
        ("args", '{"sampling": 1}', "--eval-bleu-args: sampling is 1; it must be true or false"),
        ("args", '{"beem": 4}', "no --eval-bleu-args is named 'beem'; did you mean 'beam'"),
        ("detok", "nope", "no --eval-bleu-detok is named 'nope'; .* moses, nltk, space"),
        ("detok-args", "[", r"--eval-bleu-detok-args '\[' is no JSON \(.*\); give it as '{}'"),
        ("args", '{"lenpen": Infinity}', "--eval-bleu-args: lenpen is Infinity; it must be a number"),
        ("remove-bpe", "nope", "--eval-bleu-remove-bpe nope is nothing that fairseq can join"),
    ],
)
def test_settings_of_bleu_in_validation(root, tmp_path, flag, value, message):
    line = refused(tmp_path, *translation(root, tmp_path / "s", "--eval-bleu", f"--eval-bleu-{flag}={value}"))
    assert re.search(message, line), line


def test_settings_of_bleu_that_work(root, tmp_path):
    arguments = '{"beam": 2, "max_len_a": 1.2, "max_len_b": 10, "lenpen": 1, "unnormalized": false}'
    flags = ("--eval-bleu", f"--eval-bleu-args={arguments}", "--eval-bleu-remove-bpe", "sentencepiece")
    run_train(*translation(root, tmp_path / "s", *flags))
    assert (tmp_path / "s" / "checkpoint_best.pt").is_file()


def test_metrics_that_validation_gives(root, tmp_path):
    for kind, metric in (("scores", "pearson"), ("several", "QNLI_mrr"), ("several", "score")):
        flags = ("--best-checkpoint-metric", metric, HIGHER, "--max-update", 1)
        run_train(*flags_of(kind, root, tmp_path / f"{kind}-{metric}", *flags))
        assert (tmp_path / f"{kind}-{metric}" / "checkpoint_best.pt").is_file()


@pytest.mark.parametrize("kind", ["translation", "text", "classes", "several"])
def test_a_batch_smaller_than_the_longest_row(root, tmp_path, kind):
    flags = flags_of(kind, root, tmp_path / "s", "--max-tokens", 8)
    message = r": (train|valid): \d+ of \d+ rows have more tokens than a batch may, 8, the longest \d+; pass"
    assert re.search(message, refused(tmp_path, *flags))
    line = refused(tmp_path, *flags, "--max-tokens-valid", 500)  # training rows alone are longer
    assert re.search(": train: .*; pass --max-tokens [0-9]+ or more", line)


def test_positions_shorter_than_a_sentence(root, tmp_path):
    short = ("--max-source-positions", 10, "--max-target-positions", 10)
    line = refused(tmp_path, *translation(root, tmp_path / "s", *short))
    assert re.search(r"valid: \d of 6 rows are longer than the 10 and 10 positions .*row \d", line)
    run_train(*translation(root, tmp_path / "s", *short, "--skip-invalid-size-inputs-valid-test"))
    assert (tmp_path / "s" / "checkpoint_last.pt").is_file()
    none = ("--max-source-positions", 1, "--max-target-positions", 1, "--disable-validation")
    assert "train: 24 of 24 rows are longer" in refused(
        tmp_path / "x", *translation(root, tmp_path / "x" / "s", *none)
    )


def test_decoding_says_which_sentence_and_what_replace_unk_needs(root, tmp_path):
    run_train(*translation(root, tmp_path / "s", "--max-source-positions", 20))
    model = ("--path", tmp_path / "s" / "checkpoint_last.pt", "--cpu", "--beam", 1)
    text = tmp_path / "text"
    text.write_text("w1 w2\nw4\n" + "w3 " * 30 + "\nw5\n")
    flags = (root / "data", "--task", "translation", *model)
    for size in (1, 2):
        status, errors = exit_of(interactive, *flags, "--input", text, "--buffer-size", size)
        line = errors.splitlines()[-1]
        assert status == 1 and "Traceback" not in errors
        assert f"input: 1 of {size} rows are longer than the 20" in line
        assert "line 3, 'w3 w3 w3" in line and "(31)" in line
        skipping = ("--skip-invalid-size-inputs-valid-test", "--buffer-size", size)
        translated = re.findall(r"^S-\d", run_interactive(text, *flags, *skipping), re.MULTILINE)
        assert translated == ["S-0", "S-1", "S-3"]
    status, errors = exit_of(generate, *flags, "--replace-unk")
    assert status == 1 and "Traceback" not in errors and "leave it out" in errors.splitlines()[-1]


def test_an_optimizer_of_weights_in_another_order_is_refused(root, tmp_path):
    """SST-2 and RTE have heads of one shape: the moments of one would become those of the other."""
    flags = {"criterion": "sentence_classification"}
    run_train(*multitask(root, tmp_path / "s", corpora="SST-2,RTE", **flags))
    swapped = multitask(root, tmp_path / "s", "--max-update", 4, corpora="RTE,SST-2", **flags)
    status, errors = exit_of(train, *swapped)
    line = errors.splitlines()[-1]
    assert status == 1 and "Traceback" not in errors
    assert "its optimizer has" in line and "--corpora in the order of the checkpoint (SST-2,RTE)" in line
    last = tmp_path / "s" / "checkpoint_last.pt"
    assert number_of_updates(read_checkpoint(last)) == 2
    older = read_checkpoint(last)
    del older["task_state"][OPTIMIZED]
    with pytest.raises(UserError, match=r"knows the weights of SST-2, RTE by their order; .*SST-2,RTE"):
        write_checkpoint(older, tmp_path / "older.pt")
        cfg = OmegaConf.create(
            {"restore_file": str(tmp_path / "older.pt"), "save_dir": "", "reset_optimizer": False}
        )
        check_optimizer(cfg, [], None, ["RTE", "SST-2"])
    run_train(*multitask(root, tmp_path / "s", "--max-update", 3, corpora="SST-2,RTE", **flags))
    run_train(*swapped, "--reset-optimizer")


def test_a_threshold_that_is_lowered_under_every_token_is_refused_when_a_training_goes_on(root, tmp_path):
    """Settings may change from one call to the next; what would learn nothing from its teacher may not."""
    save_dir = tmp_path / "s"
    stored = ("--soft-targets", root / "store", "--kd-topk", 3, "--kd-alpha", 0.5)
    selective = ("--criterion", "selective_kd", "--kd-selection", "confidence", *stored)
    run_train(*translation(root, save_dir, *selective, "--kd-threshold", 0.9))
    for more in (("--kd-threshold", 1e-9), ("--kd-threshold", 1e-9, "--update-freq", 2)):
        status, errors = exit_of(train, *translation(root, save_dir, *selective, *more, "--max-update", 2))
        line = errors.splitlines()[-1]
        assert status == 1 and "Traceback" not in errors
        assert "selective_kd: --kd-threshold 1e-09 (0.9 before): none of the" in line and "raise it" in line
        assert number_of_updates(read_checkpoint(save_dir / "checkpoint_last.pt")) == 1
    run_train(*translation(root, save_dir, *selective, "--kd-threshold", 0.8, "--max-update", 2))
    elsewhere = ("--restore-file", save_dir / "checkpoint_last.pt", "--kd-threshold", 1e-9, "--max-update", 3)
    status, errors = exit_of(train, *translation(root, tmp_path / "other", *selective, *elsewhere))
    assert status == 1 and "(0.8 before)" in errors.splitlines()[-1]
    run_train(*translation(root, tmp_path / "g", *selective, "--kd-selection", "global"))
    confidence = ("--kd-threshold", 1e-9, "--max-update", 2)
    status, errors = exit_of(train, *translation(root, tmp_path / "g", *selective, *confidence))
    assert status == 1 and "(--kd-selection global before)" in errors.splitlines()[-1]


@pytest.mark.parametrize("projection", ["shared", "none"])
def test_a_second_stage_in_the_save_dir_of_the_first_is_refused(root, tmp_path, projection):
    write_bert(tmp_path / "teacher", layers=2)
    write_bert(tmp_path / "student", labels=None, layers=1)
    flags = classification(
        *(root / "sst", tmp_path / "s", "--teacher", tmp_path / "teacher", "--kd-projection", projection),
        *("--max-update", 1),
        bert=tmp_path / "student",
        criterion="tinybert_kd",
    )
    run_train(*flags)
    status, errors = exit_of(train, *flags, "--kd-stage", "prediction", "--max-update", 2)
    assert status == 1 and "Traceback" not in errors
    assert "is of --kd-stage intermediate" in errors and "a --save-dir of its own" in errors
