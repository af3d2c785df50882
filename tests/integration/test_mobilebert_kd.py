"""``ib_bert`` and ``mobilebert`` under ``masked_lm_kd``: trained, resumed, exported, and used afterwards."""

import shutil

import pytest
import torch
from documentation import commands
from fairseq_runs import run_train
from tiny_classification import make_tokenizer, sentences, write_sst2
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    MobileBertConfig,
    MobileBertForMaskedLM,
    MobileBertForPreTraining,
)

from cmlm_kd.cli import main
from cmlm_kd.criteria.mobilebert import MobileBertKD
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint
from cmlm_kd.models.export import masked_lm_of_checkpoint
from cmlm_kd.teachers.masked_lm import MaskedLMTeacher

SIZES = (
    *("--layers", 2, "--hidden-size", 16, "--heads", 2, "--ffn-size", 12, "--embedding-size", 8),
    *("--positions", 40),
)
IB_SIZES = (*SIZES, "--bottleneck-size", 24)
STUDENT_SIZES = (*SIZES, "--bottleneck-size", 8, "--feed-forward-networks", 2)
TRAINING = (
    *("--task", "masked_lm_kd", "--cpu", "--max-tokens", 150, "--lr", 0.01),
    *("--no-epoch-checkpoints", "--log-format", "none"),
)
PROGRESSIVE = ("--criterion", "mobilebert_kd", "--kd-transfer-updates", 4, "--optimizer", "bert_lamb")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A folder with train.txt, valid.txt and a tokenizer."""
    folder = tmp_path_factory.mktemp("text")
    for name, count, seed in (("train", 120, 1), ("valid", 20, 2)):
        lines = [line for line, _ in sentences(count, seed)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    make_tokenizer().save_pretrained(folder / "tokenizer")
    return folder


def train_teacher(text, save_dir, updates, *flags):
    run_train(
        *(text, *TRAINING, "--arch", "ib_bert", "--criterion", "bert_mlm", "--optimizer", "bert_adamw"),
        *("--bert-tokenizer", text / "tokenizer", "--save-dir", save_dir, "--max-update", updates, *flags),
    )
    return save_dir / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def teacher_checkpoint(text, tmp_path_factory):
    return train_teacher(text, tmp_path_factory.mktemp("ib"), 2, *IB_SIZES)


@pytest.fixture(scope="module")
def teacher(teacher_checkpoint, tmp_path_factory):
    """An IB-BERT as a directory."""
    directory = tmp_path_factory.mktemp("teacher") / "ib"
    assert main(["export", str(teacher_checkpoint), "--output", str(directory)]) == 0
    return directory


def train(text, teacher, save_dir, updates, *flags, arch=("--arch", "mobilebert", *STUDENT_SIZES)):
    run_train(
        *(text, *TRAINING, "--teacher", teacher, *arch, *flags),
        *("--save-dir", save_dir, "--max-update", updates),
    )
    return save_dir / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def trained(text, teacher, tmp_path_factory):
    """The checkpoint of a student that has seen every stage."""
    return train(text, teacher, tmp_path_factory.mktemp("student"), 6, *PROGRESSIVE)


def weights(checkpoint):
    # Copies: what is read is mapped from the file, which the next run writes anew.
    return {name: tensor.clone() for name, tensor in read_checkpoint(checkpoint)["model"].items()}


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=0, atol=0)


def exported_batch(directory):
    ids = torch.randint(5, 25, (2, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    return ids * mask, mask


# -- IB-BERT -------------------------------------------------------------------------------------------------


def test_a_teacher_resumes_where_an_uninterrupted_training_would_be(text, tmp_path):
    whole = train_teacher(text, tmp_path / "whole", 4, *IB_SIZES)
    train_teacher(text, tmp_path / "parts", 2, *IB_SIZES)
    assert_same_weights(whole, train_teacher(text, tmp_path / "parts", 4, *IB_SIZES))


def test_an_exported_teacher_is_the_trained_one_and_goes_on(text, teacher, teacher_checkpoint, tmp_path):
    loaded = AutoModelForMaskedLM.from_pretrained(teacher).eval()
    assert type(loaded).__name__ == "IBBertForMaskedLM"
    ids, mask = exported_batch(teacher)
    index = torch.tensor([1, 4, 10])
    ours = masked_lm_of_checkpoint(read_checkpoint(teacher_checkpoint)).eval()
    with torch.no_grad():
        theirs = loaded(input_ids=ids, attention_mask=mask).logits.flatten(0, 1)[index]
        torch.testing.assert_close(ours(ids, mask, index), theirs)
    again = train_teacher(text, tmp_path, 1, "--bert", teacher, "--lr", 0.0)
    assert_same_weights(teacher_checkpoint, again)


# -- MobileBERT ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        ("--kd-strategy", "auxiliary", "--optimizer", "bert_adamw"),
        ("--kd-strategy", "joint", "--kd-transfer-updates", 1, "--optimizer", "adam"),
        ("--kd-transfer-updates", 2, "--optimizer", "bert_adamw", "--kd-mode", "original", "--bf16-autocast"),
    ],
    ids=["auxiliary", "joint", "progressive"],
)
def test_every_strategy_trains_and_validates(text, teacher, tmp_path, flags):
    state = read_checkpoint(train(text, teacher, tmp_path, 3, "--criterion", "mobilebert_kd", *flags))
    assert state["optimizer_history"][-1]["num_updates"] == 3
    assert 0 < state["extra_state"]["best"] < 8  # bits a hidden piece, of 25


def test_a_student_resumes_in_every_stage(text, teacher, trained, tmp_path):
    for updates in (1, 3, 5, 6):
        last = train(text, teacher, tmp_path, updates, *PROGRESSIVE)
    assert_same_weights(trained, last)


def test_progress_is_layer_by_layer_from_the_teacher_s_embeddings(text, teacher, tmp_path):
    flags = (*PROGRESSIVE, "--kd-transfer-updates", 6)

    def after(updates):
        return weights(train(text, teacher, tmp_path, updates, *flags))

    def changed(before, now):
        return {name for name in before if not torch.equal(before[name], now[name])}

    first, second = after(1), after(2)  # the first update of each turn changes nothing
    given = AutoModelForMaskedLM.from_pretrained(teacher).state_dict()
    for name in ("mobilebert.embeddings.word_embeddings.weight", "cls.predictions.dense.weight"):
        torch.testing.assert_close(second[f"masked_lm.model.{name}"], given[name], rtol=0, atol=0)
    assert changed(first, second)
    assert all("encoder.layer.0." in name for name in changed(first, second))
    fourth, fifth = after(4), after(5)
    assert {"encoder.layer.0." in name for name in changed(fourth, fifth)} == {True, False}
    assert all("encoder.layer." in name for name in changed(fourth, fifth))
    assert any("cls." in name for name in changed(after(7), after(8)))


def test_layers_keep_their_rates_in_half_precision(text, teacher, tmp_path):
    half = ("--fp16", "--fp16-no-flatten-grads", "--kd-transfer-updates", 6, "--disable-validation")
    found = weights(train(text, teacher, tmp_path, 2, *PROGRESSIVE, *half))
    given = AutoModelForMaskedLM.from_pretrained(teacher).state_dict()
    for name in ("mobilebert.embeddings.word_embeddings.weight", "cls.predictions.dense.weight"):
        torch.testing.assert_close(
            found[f"masked_lm.model.{name}"], given[name].half().float(), rtol=0, atol=0
        )
    bias = "masked_lm.model.mobilebert.encoder.layer.{}.output.LayerNorm.bias"
    assert found[bias.format(0)].any()
    assert not found[bias.format(1)].any()


def test_the_teacher_gives_what_the_stage_reads_and_no_more(text, teacher, tmp_path, monkeypatch):
    asked, begun = [], []
    signal, begin = MaskedLMTeacher.signal, MobileBertKD.begin_update

    def spy(self, *inputs, **options):
        if torch.is_grad_enabled():  # in training
            asked.append(inputs[-1])
        return signal(self, *inputs, **options)

    def note(self, update):
        begun.append(update)
        begin(self, update)

    monkeypatch.setattr(MaskedLMTeacher, "signal", spy)
    monkeypatch.setattr(MobileBertKD, "begin_update", note)
    train(text, teacher, tmp_path, 3, *PROGRESSIVE, "--kd-transfer-updates", 2, "--disable-validation")
    assert [(each.hidden_states, each.attention_scores, each.predictions) for each in asked] == [
        ((1,), (1,), "none"),
        ((2,), (2,), "none"),
        ((), (), "masked"),
    ]
    assert begun == [0, 0, 1, 2]  # when it is built, and once an update


def test_an_exported_student_is_transformers_own_and_becomes_a_classifier(trained, tmp_path):
    directory = tmp_path / "mobilebert"
    assert main(["export", str(trained), "--output", str(directory)]) == 0
    loaded, report = MobileBertForMaskedLM.from_pretrained(directory, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ids, mask = exported_batch(directory)
    index = torch.tensor([1, 4, 10])
    ours = masked_lm_of_checkpoint(read_checkpoint(trained)).eval()
    with torch.no_grad():
        theirs = loaded.eval()(input_ids=ids, attention_mask=mask).logits.flatten(0, 1)[index]
        torch.testing.assert_close(ours(ids, mask, index), theirs)
    run_train(
        *(write_sst2(tmp_path / "sst2"), "--task", "classification_kd", "--corpus", "SST-2", "--cpu"),
        *("--arch", "bert_classifier", "--bert", directory, "--criterion", "sentence_classification"),
        *("--optimizer", "bert_adamw", "--batch-size", 8, "--max-update", 2, "--no-epoch-checkpoints"),
        *("--save-dir", tmp_path / "save", "--log-format", "none"),
    )
    state = read_checkpoint(tmp_path / "save" / "checkpoint_last.pt")
    assert state["model"]["classifier.model.classifier.weight"].shape == (2, 16)


def test_a_published_mobilebert_goes_on_as_the_student(text, teacher, tmp_path):
    """As published: transformers' own class with all that it was pre-trained with."""
    config = MobileBertConfig(
        vocab_size=25,
        hidden_size=16,
        true_hidden_size=8,
        intra_bottleneck_size=8,
        embedding_size=8,
        intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_feedforward_networks=3,
        max_position_embeddings=40,
    )
    torch.manual_seed(4)
    published = MobileBertForPreTraining(config).eval()
    published.save_pretrained(tmp_path / "published")
    make_tokenizer().save_pretrained(tmp_path / "published")
    arch = ("--arch", "mobilebert", "--bert", tmp_path / "published", "--lr", 0.0)
    last = train(text, teacher, tmp_path / "save", 1, *PROGRESSIVE, arch=arch)
    beside = {name for name in published.state_dict() if "pooler" in name or "seq_relationship" in name}
    assert len(beside) == 4
    found = weights(last)
    for name, tensor in published.state_dict().items():
        if name not in beside:
            torch.testing.assert_close(found[f"masked_lm.model.{name}"], tensor)
    ids, mask = exported_batch(tmp_path)
    index = torch.tensor([1, 4, 10])
    ours = masked_lm_of_checkpoint(read_checkpoint(last)).eval()
    with torch.no_grad():
        theirs = published(input_ids=ids, attention_mask=mask).prediction_logits.flatten(0, 1)[index]
        torch.testing.assert_close(ours(ids, mask, index), theirs)


def test_without_distillation_a_student_begins_with_the_same_embeddings(text, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(MaskedLMTeacher, "signal", None)  # nobody asks the teacher
    last = train(
        *(text, teacher, tmp_path, 1, "--criterion", "bert_mlm", "--optimizer", "bert_adamw", "--lr", 0.0),
        "--disable-validation",
    )
    given, found = AutoModelForMaskedLM.from_pretrained(teacher).state_dict(), weights(last)
    for name in ("mobilebert.embeddings.word_embeddings.weight", "cls.predictions.dense.weight"):
        torch.testing.assert_close(found[f"masked_lm.model.{name}"], given[name], rtol=0, atol=0)


def test_embeddings_at_random_on_request(text, teacher, tmp_path):
    flags = (*PROGRESSIVE, "--random-embeddings", "--lr", 0.0)
    found = weights(train(text, teacher, tmp_path, 1, *flags))
    given = AutoModelForMaskedLM.from_pretrained(teacher).state_dict()
    name = "mobilebert.embeddings.word_embeddings.weight"
    assert not torch.equal(found[f"masked_lm.model.{name}"], given[name])


def test_the_page_s_commands(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(text, tmp_path / "text")
    make_tokenizer().save_pretrained(tmp_path / "bert-base-uncased")
    tiny = ("--max-update", 2, "--cpu", "--no-progress-bar", "--no-epoch-checkpoints")
    sizes = {"ib_bert": IB_SIZES, "mobilebert": STUDENT_SIZES}
    for words in commands("docs/criteria/mobilebert_kd.md"):
        if words[0] == "fairseq-train":
            arch = words[words.index("--arch") + 1]
            run_train(*words[1:], *tiny, *sizes[arch], "--positions", 128)
        else:
            assert main(words[1:]) == 0
    MobileBertForMaskedLM.from_pretrained(tmp_path / "mobilebert-general")
    assert number_of_updates(read_checkpoint(tmp_path / "distilled" / "checkpoint_last.pt")) == 2


# -- bad input -----------------------------------------------------------------------------------------------


def with_more_pieces(teacher, tmp_path):
    copied = tmp_path / "other"
    shutil.copytree(teacher, copied)
    make_tokenizer(extra=("more",)).save_pretrained(copied)
    return copied


def as_bert(tmp_path):
    config = BertConfig(
        vocab_size=25, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    make_tokenizer().save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--heads", 4), "4 and 2 attention heads, which are compared one by one"),
        (("--hidden-size", 24), "24 and 16 wide, and there is no projection"),
        (("--layers", 3), "the student is deeper than its teacher"),
        (("--kd-transfer-updates", 1), "leaves no update for each of 2 layers"),
        (("--kd-layer-map", "1,3"), "teacher layer 3 is not in 1 to 2"),
        (("--bottleneck-size", 9), "--bottleneck-size 9 is no multiple of --heads 2"),
        (("--dropout", 1), "--dropout is 1.0, it must be in"),
        (("--optimizer", "adam"), "FairseqAdam has one for all; pass --optimizer bert_lamb"),
        (("--weight-decay", -1), "bert_lamb: --weight-decay is -1.0, it can't be negative"),
        (("--lamb-betas", "0.9"), "bert_lamb: --lamb-betas is '0.9', give two numbers"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(text, teacher, tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        train(text, teacher, tmp_path, 1, *PROGRESSIVE, *flags)
    assert not list(tmp_path.glob("checkpoint*.pt"))


def test_another_vocabulary_is_named(text, teacher, tmp_path):
    other = with_more_pieces(teacher, tmp_path)
    with pytest.raises(UserError, match=r"the vocabulary of teacher .*other.* is not the student's"):
        train(text, other, tmp_path, 1, *PROGRESSIVE, "--bert-tokenizer", text / "tokenizer")


def test_students_and_teachers_of_other_kinds_are_named(text, teacher, tmp_path):
    bert = as_bert(tmp_path)
    for name, wanted in (("mobilebert", "a MobileBERT"), ("ib_bert", "an IB-BERT")):
        with pytest.raises(UserError, match=f"{name}: .* is a bert model; give {wanted}"):
            train(text, teacher, tmp_path, 1, *PROGRESSIVE, arch=("--arch", name, "--bert", bert))
    for option in (("--layers", 2), ("--layer-norm",)):
        arch = ("--arch", "mobilebert", "--bert", bert, *option)
        with pytest.raises(
            UserError, match=f"{option[0]} is .* a new model; leave it out or leave out --bert"
        ):
            train(text, teacher, tmp_path, 1, *PROGRESSIVE, arch=arch)
    arch = ("--arch", "bert_masked_lm", "--bert", bert)
    with pytest.raises(UserError, match=r"parameters are not grouped by layers .*take --arch mobilebert"):
        train(text, teacher, tmp_path, 1, *PROGRESSIVE, "--max-length", 40, arch=arch)
