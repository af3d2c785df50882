"""``--task translation_kd``: teacher rows stay with their sentences, whatever fairseq does to them."""

import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq_runs import TINY_STUDENT, build_task, run_generate, run_train
from tiny_corpus import EOS, check_batch, write_split, write_store

from cmlm_kd.api.needs import NOTHING_ELSE, SOFT_TARGETS, ModelDescription
from cmlm_kd.api.registry import Registry
from cmlm_kd.api.signals import SoftTargets, TeacherSignal
from cmlm_kd.api.sources import NamedSource
from cmlm_kd.errors import UserError
from cmlm_kd.store import Corpus

SEEN = []  # what the criterion below met: (training, sentences with and without a teacher row, first ids)


@register_criterion("alignment_probe", dataclass=LabelSmoothedCrossEntropyCriterionConfig)
class AlignmentProbe(LabelSmoothedCrossEntropyCriterion):
    """Compares every training batch that the model sees with what the tiny teacher says of its sentences."""

    def forward(self, model, sample, reduce=True):
        if self.training:
            SEEN.append((*check_batch(sample), sample["id"].tolist()))
        else:
            assert "teacher" not in sample
        return super().forward(model, sample, reduce)


@pytest.fixture(autouse=True)
def forget():
    SEEN.clear()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three training sets, a second epoch shard, validation and test, and the stores."""
    root = tmp_path_factory.mktemp("corpus")
    for number, (split, rows) in enumerate(
        [("train", 70), ("train1", 50), ("train2", 30), ("valid", 12), ("test", 8)]
    ):
        write_split(root / "all", split, rows, seed=number)
    for split in ("train", "valid", "test"):
        copy_split(root / "all", root / "one", split)
    write_split(root / "two", "train", 40, seed=10)
    for split in ("train", "train1", "train2"):
        write_store(root / f"store-{split}", root / "all", split)
    write_store(root / "store-two", root / "two")
    return root


def copy_split(source, destination, split):
    destination.mkdir(exist_ok=True)
    for file in [*source.glob(f"{split}.*"), *source.glob("dict.*")]:
        shutil.copy(file, destination)


def batches(data, stores, *flags, epoch=1, num_workers=0, **options):
    """Return the training batches of one epoch as fairseq's trainer would make them."""
    task, _ = build_task(
        data, "--task", "translation_kd", "--soft-targets", stores, "--arch", "transformer", *flags
    )
    task.load_dataset("train", epoch=epoch, combine=True)
    options = {"max_tokens": 90, "seed": 1, "epoch": epoch, "num_workers": num_workers, **options}
    iterator = task.get_batch_iterator(task.dataset("train"), max_positions=(1024, 1024), **options)
    return list(iterator.next_epoch_itr(shuffle=True)), task


def check_all(samples):
    return Counter(i for sample in samples for i in sample["id"].tolist()), sum(
        check_batch(s)[0] for s in samples
    )


# Alignment


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    "flags",
    [(), ("--left-pad-target",), ("--left-pad-source", "--truncate-source", "--max-source-positions", 5)],
)
def test_rows_follow_sorted_and_padded_sentences(corpus, flags, num_workers):
    samples, _ = batches(corpus / "one", corpus / "store-train", *flags, num_workers=num_workers)
    ids, with_teacher = check_all(samples)
    assert ids == Counter(range(70)) and 40 < with_teacher < 70
    assert any(
        sample["id"].tolist() != sorted(sample["id"].tolist()) for sample in samples
    )  # so order was at stake


@pytest.mark.parametrize("upsample", [1, 3])
def test_rows_follow_concatenated_and_upsampled_sentences(corpus, upsample):
    stores = ",".join(str(corpus / f"store-train{number}") for number in ("", 1, 2))
    samples, task = batches(corpus / "all", stores, "--upsample-primary", upsample)
    ids, _ = check_all(samples)
    assert ids == Counter(range(70 * upsample + 50 + 30))
    without = sum(check_batch(sample)[1] for sample in samples)
    assert task.dataset("train").source.rows_without_teacher == without > 0


def test_training_set_without_a_store(corpus):
    stores = f"{corpus / 'store-train'},none,{corpus / 'store-train2'}"
    samples, task = batches(corpus / "all", stores, max_sentences=1)
    for sample in samples:
        check_batch(sample, expect_teacher=not 70 <= sample["id"].item() < 120)
    assert task.dataset("train").source.rows_without_teacher > 50


def test_rows_follow_epoch_shards(corpus):
    data, stores = f"{corpus / 'one'}:{corpus / 'two'}", f"{corpus / 'store-train'}:{corpus / 'store-two'}"
    for epoch, rows in ((1, 70), (2, 40), (3, 70)):
        assert check_all(batches(data, stores, epoch=epoch)[0])[0] == Counter(range(rows))


def test_rows_follow_bucketed_lengths(corpus, monkeypatch):
    # fairseq 0.12 asks for two things that NumPy 2 no longer has.
    monkeypatch.setattr(np, "compat", SimpleNamespace(long=int), raising=False)
    percentile = np.percentile
    monkeypatch.setattr(
        np, "percentile", lambda *args, interpolation: percentile(*args, method=interpolation)
    )
    for left_pad in ((), ("--left-pad-target",)):
        samples, _ = batches(corpus / "one", corpus / "store-train", "--num-batch-buckets", 3, *left_pad)
        assert check_all(samples)[0] == Counter(range(70))
        assert len({sample["target"].size(1) for sample in samples}) <= 3


def test_rows_follow_lengths_padded_to_a_multiple(corpus):
    samples, _ = batches(corpus / "one", corpus / "store-train", "--required-seq-len-multiple", 8)
    assert check_all(samples)[0] == Counter(range(70))
    assert all(sample["target"].size(1) % 8 == 0 for sample in samples)


def test_sentences_longer_than_the_limit_are_left_out(corpus):
    task, _ = build_task(
        corpus / "one",
        "--task",
        "translation_kd",
        "--soft-targets",
        corpus / "store-train",
        "--arch",
        "transformer",
    )
    task.load_dataset("train", combine=True)
    limits = {"max_positions": (8, 8), "ignore_invalid_inputs": True}
    iterator = task.get_batch_iterator(task.dataset("train"), max_tokens=60, **limits)
    ids, _ = check_all(list(iterator.next_epoch_itr()))
    assert 10 < len(ids) < 60


def test_a_check_that_fails_when_rows_are_shifted(corpus):
    """The probe of these tests really tells a misplaced row from the right one."""
    samples, _ = batches(corpus / "one", corpus / "store-train")
    teacher = samples[0]["teacher"]
    teacher["ids"] = teacher["ids"].roll(1, dims=0)
    with pytest.raises(AssertionError):
        check_batch(samples[0])


def test_exhausted_shard_gives_an_empty_batch(corpus):
    _, task = batches(corpus / "one", corpus / "store-train")
    assert task.dataset("train").collater([]) == {}


# Training


def training_flags(save_dir, data, stores, criterion="alignment_probe"):
    task = ("--task", "translation_kd", "--soft-targets", stores, "--criterion", criterion)
    return (data, *task, *TINY_STUDENT, "--max-tokens", 90, "--save-dir", save_dir)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_rows_follow_through_training_and_resume(corpus, tmp_path, num_workers):
    data, stores = f"{corpus / 'one'}:{corpus / 'two'}", f"{corpus / 'store-train'}:{corpus / 'store-two'}"
    flags = (
        *training_flags(tmp_path, data, stores),
        "--num-workers",
        num_workers,
        "--update-freq",
        2,
    )
    run_train(*flags, "--max-epoch", 3)
    straight = [ids for _, _, ids in SEEN]
    assert len({i for ids in straight for i in ids}) == 70 and sum(known for known, *_ in SEEN) > 100
    SEEN.clear()
    run_train(*flags, "--save-dir", tmp_path / "resumed", "--max-update", 3, "--save-interval-updates", 1)
    run_train(*flags, "--save-dir", tmp_path / "resumed", "--max-epoch", 3)
    assert [ids for _, _, ids in SEEN] == straight


def test_bfloat16_autocast_and_eval_bleu(corpus, tmp_path):
    flags = training_flags(tmp_path, corpus / "one", corpus / "store-train")
    run_train(
        *flags,
        "--max-update",
        2,
        "--bf16-autocast",
        "--eval-bleu",
        "--eval-bleu-args",
        '{"beam": 1, "max_len_b": 5}',
    )
    assert SEEN
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    assert state["model"]["decoder.embed_tokens.weight"].dtype == torch.float32


@pytest.mark.parametrize("removed", ["sentencepiece", None])
def test_eval_bleu_of_a_script_without_spaces(tmp_path, caplog, removed):
    """sacreBLEU's default tokenizer takes its clauses for words; pieces are cut."""
    data = write_split(tmp_path / "data", "valid", 6, seed=1)
    symbols = "".join(f"{chr(0x4E00 + i)}\u597d 1\n" for i in range(40))
    (data / "dict.en.txt").write_text(symbols, encoding="utf-8")
    bleu = ("--eval-bleu", *(("--eval-bleu-remove-bpe", removed) if removed else ()))
    task, _ = build_task(data, "--task", "translation_kd", "--soft-targets", "none", *TINY_STUDENT, *bleu)
    task.load_dataset("valid")
    assert ("--eval-bleu cuts text at spaces, which Han has not" in caplog.text) == bool(removed)


def test_soft_target_kd_reads_the_rows(corpus, tmp_path):
    flags = training_flags(tmp_path, corpus / "one", corpus / "store-train", "soft_target_kd")
    run_train(*flags, "--kd-topk", 2, "--max-update", 2)
    assert (tmp_path / "checkpoint_last.pt").is_file()
    with pytest.raises(UserError, match="--kd-topk is 4, but the teacher gives k = 3"):
        run_train(*flags, "--kd-topk", 4, "--max-update", 2, "--save-dir", tmp_path / "other")
    assert not (tmp_path / "other" / "checkpoint_last.pt").exists()


def test_store_is_not_needed_after_training(corpus, tmp_path):
    store = shutil.copytree(corpus / "store-train", tmp_path / "store")
    flags = training_flags(tmp_path / "checkpoints", corpus / "one", store)
    run_train(*flags, "--max-update", 2)
    shutil.rmtree(store)
    decode = (
        corpus / "one",
        "--path",
        tmp_path / "checkpoints" / "checkpoint_last.pt",
        "--cpu",
        "--max-tokens",
        200,
        "--max-len-b",
        5,
    )
    plain = run_generate(*decode, "--task", "translation")
    assert plain.count("\nH-") + plain.startswith("H-") == 8
    assert run_generate(*decode, "--task", "translation_kd").count("D-") == 8
    assert run_generate(*decode, "--task", "translation_kd", "--gen-subset", "train").count("D-") == 70


def test_values_survive_half_precision(corpus):
    samples, _ = batches(corpus / "one", corpus / "store-train")
    teacher = SoftTargets.from_batch(samples[0]["teacher"])
    assert teacher.logits.dtype == teacher.tail.dtype == torch.float16  # fairseq casts float32 alone
    assert teacher.ids.dtype == torch.int64 and teacher.valid.dtype == torch.bool
    assert (
        samples[0]["target"].shape == teacher.valid.shape and (samples[0]["target"] == EOS).sum(1).eq(1).all()
    )


class Gold(NamedSource):
    """A teacher that runs beside the student and is sure of the gold entry."""

    seen = ()

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    @classmethod
    def from_argument(cls, argument, training_set):
        return cls(training_set.vocabulary)

    @property
    def description(self):
        return ModelDescription(
            "gold", frozenset({SOFT_TARGETS}), vocabulary=self.vocabulary, topk=8, tail_temperatures=(1.0,)
        )

    def signal(self, batch, request=NOTHING_ELSE, *, dropout=False):
        Gold.seen += ((batch.rows.tolist(), sorted(batch.inputs)),)
        ids = (batch.target.unsqueeze(-1) + torch.arange(request.topk)) % self.vocabulary  # (B, T, k)
        logits = torch.arange(request.topk, 0, -1.0).expand(ids.shape)
        tail = torch.zeros(*ids.shape[:2], 1)
        return TeacherSignal(soft_targets=SoftTargets(ids, logits, tail, batch.target != batch.padding_idx))


def test_a_registered_source_trains_a_student(corpus, tmp_path, monkeypatch):
    sources = Registry("signal source", NamedSource)
    sources.register("gold")(Gold)
    monkeypatch.setattr("cmlm_kd.api.sources.signal_sources", sources)
    flags = training_flags(tmp_path, corpus / "one", "gold=", criterion="soft_target_kd")
    run_train(*flags, "--kd-topk", 8, "--max-update", 2)
    assert len(Gold.seen) >= 2 and all(rows and "src_tokens" in names for rows, names in Gold.seen)
    assert list(tmp_path.rglob("checkpoint_last.pt"))


# Refusals


def test_soft_targets_missing(corpus, tmp_path):
    flags = [
        flag for flag in training_flags(tmp_path, corpus / "one", "X") if flag not in ("--soft-targets", "X")
    ]
    with pytest.raises(UserError, match="--soft-targets is missing"):
        run_train(*flags, "--max-update", 1)


def test_fewer_stores_than_data_directories(corpus):
    with pytest.raises(UserError, match=r"2 data directories .* but stores for 1 .*separated by colons"):
        batches(f"{corpus / 'one'}:{corpus / 'two'}", corpus / "store-train")


def test_fewer_stores_than_training_sets(corpus):
    with pytest.raises(
        UserError, match=r"3 training sets \(train, train1, train2\) but --soft-targets names 1"
    ):
        batches(corpus / "all", corpus / "store-train")


def test_store_of_another_corpus_is_found_before_the_first_epoch(corpus):
    with pytest.raises(UserError, match=r"was dumped for a corpus of sentences: 50, the data has 40"):
        batches(f"{corpus / 'one'}:{corpus / 'two'}", f"{corpus / 'store-train'}:{corpus / 'store-train1'}")


def test_store_with_fewer_rows(corpus, tmp_path):
    data = shutil.copytree(corpus / "two", tmp_path / "data")
    write_split(data, "train", 39, seed=10)
    store = write_store(tmp_path / "store", data)
    with pytest.raises(UserError, match="sentences: 39, the data has 40"):
        batches(corpus / "two", store)


def test_corpus_of_equal_size_in_another_order(corpus, tmp_path):
    store = write_store(tmp_path / "store", write_split(tmp_path / "data", "train", 40, seed=11))
    with pytest.raises(UserError, match=r"was dumped for corpus \w{12}, the data has \w{12}"):
        batches(corpus / "two", store)


def test_another_dictionary(corpus, tmp_path):
    data = shutil.copytree(corpus / "two", tmp_path / "data")
    dictionary = data / "dict.en.txt"
    dictionary.write_text(dictionary.read_text().replace("w7 1", "x7 1"))
    with pytest.raises(UserError, match=r"was dumped for dictionary \w{12}, the data has \w{12}"):
        batches(data, corpus / "store-two")


def test_row_of_another_length(corpus, tmp_path):
    """Even a store that claims the right corpus can't put rows beside sentences of another length."""
    data = write_split(tmp_path / "data", "train", 40, seed=11)
    claimed = Corpus.of_databin(corpus / "two", "train", "de", "en").corpus_hash
    store = write_store(tmp_path / "store", data, corpus_hash=claimed)
    with pytest.raises(
        UserError, match=r"of 40 target sentences differ in length from their teacher row \(first: number"
    ):
        batches(corpus / "two", store)


def test_stores_of_different_k(corpus, tmp_path):
    other = write_store(tmp_path / "store", corpus / "all", "train1", k=2)
    with pytest.raises(UserError, match=r"store-train has k 3, .*store has 2"):
        batches(corpus / "all", f"{corpus / 'store-train'},{other},none")


def test_criterion_looks_at_the_store_before_training(corpus):
    task, _ = build_task(
        corpus / "one",
        "--task",
        "translation_kd",
        "--soft-targets",
        corpus / "store-train",
        "--arch",
        "transformer",
    )
    seen = []
    task._criterion = SimpleNamespace(check_teacher=lambda k, temperatures: seen.append((k, temperatures)))
    task.load_dataset("valid")
    assert not seen
    task.load_dataset("train", combine=True)
    assert seen == [(3, (1.0, 10.0))]
