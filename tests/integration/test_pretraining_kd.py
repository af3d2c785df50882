"""Students of ``masked_lm_kd`` with teachers, DistilBERT and general TinyBERT: logs, resuming, export."""

import json

import pytest
import torch
from fairseq_cli import train
from fairseq_runs import exit_of, run_train
from tiny_classification import classification, write_bert, write_sst2
from tiny_text import pretraining, write_masked_lm, write_text
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, DistilBertForMaskedLM

from cmlm_kd.api.model_output import ModelOutput
from cmlm_kd.api.needs import Request
from cmlm_kd.cli import main
from cmlm_kd.models.masked_lm import MaskedLM

NEW = ("--layers", 2, "--hidden-size", 8, "--heads", 2, "--ffn-size", 16, "--positions", 40)
DEEP = ("--layers", 5, "--hidden-size", 16, "--heads", 2, "--ffn-size", 16, "--positions", 40)
HALF = ("--init-layers", "0,2")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    write_text(folder / "text")
    write_masked_lm(folder / "teacher")
    return folder


def flags(here, save_dir, *more, teacher="teacher", **kinds):
    return pretraining(
        here / "text", save_dir, "--teacher", here / teacher, "--tokenized", here / "pieces", *more, **kinds
    )


def tinybert(here, save_dir, *more):
    return flags(
        here,
        save_dir,
        *(*NEW, "--masking", "none", *more),
        criterion="tinybert_kd",
        arch="bert_masked_lm",
    )


def load(save_dir):
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=False)


def logged(caplog, what):
    return " ".join(m for m in (record.getMessage() for record in caplog.records) if what in m)


def export(save_dir, output):
    arguments = [
        "export",
        str(save_dir / "checkpoint_last.pt"),
        "--to",
        "huggingface",
        "--output",
        str(output),
    ]
    assert main(arguments) == 0
    return output


@pytest.mark.parametrize(
    "more",
    [
        ("--masking", "frequency", "--bf16-autocast"),
        ("--masking", "whole-word", "--kd-positions", "masked", "--kd-mse-weight", 0.1),
        ("--kd-implementation", "dense", "--init-mode", "original", "--update-freq", 2),
    ],
)
def test_distilbert(here, tmp_path, caplog, more):
    with caplog.at_level("INFO"):
        run_train(*flags(here, tmp_path, *HALF, *more))
    validated = logged(caplog, "valid on")
    for term in (
        "mlm_loss",
        "accuracy",
        "agreement",
        "teacher_accuracy",
        "kl_loss",
        "cosine_loss",
        "kd_loss",
    ):
        assert f" {term} " in validated
    assert ("mse_loss" in validated) == ("--kd-mse-weight" in more)
    state = load(tmp_path)
    assert json.loads(state["task_state"]["bert_config"])["model_type"] == "distilbert"
    assert len(state["task_state"]["teachers"]) == 1


def test_what_was_frozen_stays(here, tmp_path):
    """The positions of ``--init-mode original``; with ``paper`` they learn."""
    name = "masked_lm.model.distilbert.embeddings.position_embeddings.weight"
    teacher = AutoModelForMaskedLM.from_pretrained(
        here / "teacher"
    ).bert.embeddings.position_embeddings.weight
    found = {}
    for mode in ("original", "paper"):
        run_train(*flags(here, tmp_path / mode, *HALF, "--init-mode", mode))
        found[mode] = load(tmp_path / mode)["model"][name]
    assert torch.equal(found["original"], teacher)
    assert not torch.equal(found["paper"], found["original"])


def test_a_student_that_is_its_teacher_agrees_with_it(here, tmp_path, caplog):
    with caplog.at_level("INFO"):
        run_train(*flags(here, tmp_path, "--init-layers", "0,1,2,3", "--lr", 0.0, "--dropout", 0))
    parts = (part.split() for part in logged(caplog, "valid on").split("|"))
    found = {part[0]: float(part[1]) for part in parts if len(part) == 2 and part[0] != "epoch"}
    assert found["agreement"] == 100 and found["accuracy"] == found["teacher_accuracy"]
    assert found["kl_loss"] == found["cosine_loss"] == 0


def test_the_student_without_teacher_is_compared_with_one(here, tmp_path, caplog):
    """The same start, the same steps, and the teacher in validation alone."""
    more = ("--bert", here / "teacher", *HALF)
    with caplog.at_level("INFO"):
        run_train(*flags(here, tmp_path, *more, criterion="bert_mlm"))
    validated = logged(caplog, "valid on")
    assert "agreement" in validated and "kl_loss" not in validated


def test_resuming_in_the_middle_of_an_epoch_ends_where_an_uninterrupted_run_does(here, tmp_path, monkeypatch):
    """On shards, so that the epoch's own one is found again; with accumulation, so that updates are of two
    batches."""
    monkeypatch.setattr("cmlm_kd.data.text.corpus.SHARD_TOKENS", 200)
    more = (*HALF, "--masking", "frequency", "--update-freq", 2, "--tokenized", tmp_path / "pieces")
    run_train(*flags(here, tmp_path / "whole", *more, "--max-update", 5))
    run_train(*flags(here, tmp_path / "parts", *more, "--max-update", 3))
    assert load(tmp_path / "parts")["extra_state"]["train_iterator"]["iterations_in_epoch"] > 0
    run_train(*flags(here, tmp_path / "parts", *more, "--max-update", 5))
    whole, parts = load(tmp_path / "whole"), load(tmp_path / "parts")
    assert whole["extra_state"]["train_iterator"]["epoch"] > 1
    for name, value in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    "more",
    [
        ("--kd-cosine-weight", 0, "--kd-positions", "masked"),
        ("--kd-mlm-weight", 0),
        ("--kd-soft-weight", 0, "--kd-cosine-weight", 0),
    ],
)
def test_several_batches_an_update_are_one_big_batch(here, tmp_path, more):
    weights = []
    for count in (1, 3):
        save_dir = tmp_path / str(count)
        size = ("--max-tokens", 100_000, "--batch-size", 60 // count, "--update-freq", count, "--dropout", 0)
        run_train(*flags(here, save_dir, *HALF, *size, "--optimizer", "sgd", "--lr", 0.1, *more))
        weights.append(load(save_dir)["model"])
    whole, parts = weights
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, atol=2e-6, rtol=1e-5, msg=name)


def test_general_tinybert(here, tmp_path, caplog):
    with caplog.at_level("INFO"):
        run_train(*tinybert(here, tmp_path))
    for place in ("epoch 001 | loss", "valid on"):
        for term in ("embedding_loss", "hidden_loss", "attention_loss"):
            assert f" {term} " in logged(caplog, place)
    assert " kd_loss " in logged(caplog, "valid on") and " accuracy " in logged(caplog, "valid on")
    state = load(tmp_path)
    shapes = {key.rsplit("maps.", 1)[1]: tuple(value.shape) for key, value in state["criterion"].items()}
    assert shapes == {"embeddings.weight": (16, 8), "layers.weight": (16, 8)}
    assert not [name for name in state["model"] if "maps" in name]


def test_general_tinybert_learns_from_an_encoder_without_head(here, tmp_path, caplog):
    write_masked_lm(tmp_path / "encoder", head=False)
    with caplog.at_level("INFO"):
        run_train(
            *flags(
                here,
                tmp_path / "run",
                *NEW,
                teacher=tmp_path / "encoder",
                criterion="tinybert_kd",
                arch="bert_masked_lm",
            )
        )
    assert "attention_loss" in logged(caplog, "valid on") and "agreement" not in logged(caplog, "valid on")


@pytest.fixture(scope="module")
def exported(here):
    """Both kinds of students, trained and exported: name -> (folder of the run, directory)."""
    runs = {
        "distilbert": flags(here, here / "distilbert", *HALF),
        "tinybert": tinybert(here, here / "tinybert"),
    }
    found = {}
    for name, run in runs.items():
        run_train(*run)
        found[name] = here / name, export(here / name, here / f"exported-{name}")
    return found


@pytest.mark.parametrize("name", ["distilbert", "tinybert"])
def test_exported_students_are_plain_transformers_models(exported, name):
    """What the plug-in's model says and what transformers says."""
    save_dir, directory = exported[name]
    plain = AutoModelForMaskedLM.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    batch = tokenizer(["the film was [MASK]", "a [MASK]"], padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    masked = (ids == tokenizer.mask_token_id).flatten().nonzero().squeeze(1)
    state = load(save_dir)
    ours = MaskedLM.from_config(json.loads(state["task_state"]["bert_config"])).eval()
    ours.load_state_dict({key.removeprefix("masked_lm."): value for key, value in state["model"].items()})
    with torch.no_grad():
        output = ours.observe(ids, mask, masked, Request(hidden_states=(0, 2)))
        theirs = plain(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    assert isinstance(output, ModelOutput) and output.logits is None
    torch.testing.assert_close(output.vocabulary_logits(), theirs.logits.flatten(0, 1)[masked])
    for layer in (0, 2):
        torch.testing.assert_close(output.hidden_states[layer], theirs.hidden_states[layer])
    assert isinstance(plain, DistilBertForMaskedLM) == (name == "distilbert")
    assert AutoModel.from_pretrained(directory).config.num_hidden_layers == 2


@pytest.mark.parametrize("name", ["distilbert", "tinybert"])
def test_exported_students_go_on_to_classification(exported, tmp_path, name):
    """Fine-tuning, and the task stage of TinyBERT, which both start from the exported weights."""
    write_sst2(tmp_path / "SST-2", train=8, dev=4)
    write_bert(tmp_path / "classifier", layers=4, width=16, heads=2)
    _, directory = exported[name]
    encoder = AutoModel.from_pretrained(directory)
    for save_dir, criterion in (
        (tmp_path / "fine", "sentence_classification"),
        (tmp_path / "task", "tinybert_kd"),
    ):
        teacher = ("--teacher", tmp_path / "classifier") if criterion == "tinybert_kd" else ()
        still = ("--lr", 0.0, "--max-update", 1)
        run_train(
            *classification(
                tmp_path / "SST-2", save_dir, *teacher, *still, bert=directory, criterion=criterion
            )
        )
        weights = load(save_dir)["model"]
        for key, value in encoder.state_dict().items():
            (found,) = (key_ for key_ in weights if key_.endswith(f".{key}"))
            if "pooler" not in key:
                torch.testing.assert_close(weights[found], value)


@pytest.mark.parametrize(
    ("student", "more", "message"),
    [
        ("distilbert", ("--init-layers", "0,2,4"), "there is no layer 4; they count from 0 to 3"),
        ("distilbert", ("--init-layers", "0,1,2,3,3"), "the student would be deeper than its teacher"),
        ("distilbert", ("--init-layers", "two"), "layers 'two' cannot be read"),
        ("distilbert", (*HALF, "--masking", "none", "--kd-positions", "masked"), "--masking none masks none"),
        ("distilbert", (*HALF, "--max-length", 41), r"--max-length is 41, it must be in \[3, 40\]"),
        ("distilbert", (*HALF, "--mask-smoothing", -1), "--mask-smoothing is -1.0"),
        ("distilbert", ("--arch", "bert_masked_lm", *DEEP), "has 5 layers and teacher"),
        ("tinybert", ("--layers", 5), "the student is deeper than its teacher"),
        ("tinybert", ("--kd-layer-map", "2,5"), "teacher layer 5 is not in 1 to 4"),
        ("tinybert", ("--heads", 4), "have 4 and 2 attention heads"),
        ("tinybert", ("--kd-projection", "none"), "hidden states of width 8 and 16"),
        ("tinybert", ("--kd-stage", "prediction"), "leave it out for the general distillation"),
        ("tinybert", ("--positions", 50), "takes 40 positions, the student up to 50; pass --max-length 40"),
    ],
)
def test_impossible_pairs_are_refused_before_training(here, tmp_path, student, more, message):
    given = tinybert(here, tmp_path, *more) if student == "tinybert" else flags(here, tmp_path, *more)
    status, errors = exit_of(train, *given)
    assert status == 1 and "Traceback" not in errors
    assert message.replace("\\", "") in errors
    assert not list(tmp_path.glob("*.pt"))


def test_another_vocabulary_is_refused(here, tmp_path):
    other = write_masked_lm(tmp_path / "other", layers=2, extra=("zebra",))
    status, errors = exit_of(train, *flags(here, tmp_path, "--bert-tokenizer", other, *HALF))
    assert status == 1 and "is not the student's" in errors and "24 tokens" not in errors
    assert "leave out --bert and --bert-tokenizer" in errors
    status, errors = exit_of(
        train, *flags(here, tmp_path, "--bert", other, "--bert-tokenizer", here / "teacher", *HALF)
    )
    assert status == 1 and "are of the tokens of its own tokenizer, which --bert-tokenizer" in errors


def test_a_teacher_without_head_is_refused_where_predictions_are_read(here, tmp_path):
    encoder = write_masked_lm(tmp_path / "encoder", head=False)
    status, errors = exit_of(
        train,
        *flags(
            here,
            tmp_path / "run",
            *(*NEW, "--kd-cosine-weight", 0),
            teacher=encoder,
            arch="bert_masked_lm",
        ),
    )
    assert status == 1 and "which has no masked-LM head" in errors and "--criterion bert_mlm" in errors


def test_a_loss_that_is_not_finite_stops_with_the_batch(here, tmp_path, monkeypatch):
    run_train(*flags(here, tmp_path, *HALF, "--max-update", 1))
    before = (tmp_path / "checkpoint_last.pt").read_bytes()

    from cmlm_kd.criteria import distilbert

    cosine = distilbert.cosine_term
    monkeypatch.setattr(distilbert, "cosine_term", lambda *states: cosine(*states) + float("nan"))
    status, errors = exit_of(train, *flags(here, tmp_path, *HALF, "--max-update", 3))
    assert status == 1 and "Traceback" not in errors
    assert "the loss of update 2 is nan (not finite: cosine_loss)" in errors and "--lr" in errors
    (path,) = tmp_path.glob("nonfinite-update2-worker0.pt")
    batch = torch.load(path)
    assert batch["input_ids"].shape == batch["attention_mask"].shape and len(batch["id"]) > 0
    assert batch["target"].shape == batch["masked_index"].shape
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before
    assert not list(tmp_path.rglob("crash.pt"))


def test_broken_weights_are_not_saved(here, tmp_path):
    """The loss of the update that breaks them is finite, and a checkpoint is due before the next one."""
    run_train(*flags(here, tmp_path, *HALF, "--max-update", 1))
    before = (tmp_path / "checkpoint_last.pt").read_bytes()
    breaking = ("--lr", 1e38, "--clip-norm", 0, "--reset-optimizer", "--save-interval-updates", 1)
    status, errors = exit_of(train, *flags(here, tmp_path, *HALF, "--max-update", 2, *breaking))
    assert status == 1 and "Traceback" not in errors
    assert "with numbers that are not finite, and no checkpoint is made of them" in errors
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.rglob("crash.pt"))
