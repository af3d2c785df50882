"""``--task masked_lm_kd`` with ``bert_masked_lm`` and ``bert_mlm``: from text to a Hugging Face directory."""

import json
import shutil

import numpy as np
import pytest
import torch
from fairseq_runs import build_task, run_train
from transformers import AutoModelForMaskedLM, AutoTokenizer

from cmlm_kd.cli import main
from cmlm_kd.data.numbers import CorpusSizes, build_corpus
from cmlm_kd.data.text.corpus import rows_of
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint
from cmlm_kd.models.export import masked_lm_of_checkpoint
from cmlm_kd.tokenization.training import TokenizerOptions, save_tokenizer, train_tokenizer

VOCABULARY = 250
TASK = ("--task", "masked_lm_kd", "--criterion", "bert_mlm", "--arch", "bert_masked_lm", "--cpu")
TINY = ("--layers", 1, "--hidden-size", 16, "--heads", 2, "--ffn-size", 16, "--positions", 64)
TRAINING = (
    *("--optimizer", "bert_adamw", "--lr", 0.01, "--max-tokens", 200, "--num-workers", 0),
    *("--no-epoch-checkpoints", "--log-format", "none", "--valid-text", "valid.txt"),
)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A folder with train.txt, valid.txt and a tokenizer."""
    folder = tmp_path_factory.mktemp("text")
    corpus = build_corpus(2, CorpusSizes(pairs=1, valid=1, test=1, monolingual=160))
    (folder / "train.txt").write_text("\n".join(corpus.monolingual[:120]) + "\n\n", encoding="utf-8")
    (folder / "valid.txt").write_text("\n".join(corpus.monolingual[120:]), encoding="utf-8")
    tokenizer = train_tokenizer(corpus.monolingual, TokenizerOptions(VOCABULARY))
    save_tokenizer(tokenizer, folder / "tokenizer")
    return folder


def flags_of(text, *flags):
    return (text, *TASK, "--bert-tokenizer", text / "tokenizer", *flags)


def train(text, save_dir, updates, *flags):
    run_train(*flags_of(text, *TRAINING, "--save-dir", save_dir, "--max-update", updates, *flags))
    return save_dir / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def trained(text, tmp_path_factory):
    """The checkpoint of a tiny BERT after four updates."""
    return train(text, tmp_path_factory.mktemp("trained"), 4, *TINY)


def batches(text, split, *flags, epoch=1):
    task, whole = build_task(*flags_of(text, *TINY, *TRAINING, "--save-dir", text / "save", *flags))
    model = task.build_model(whole.model)
    task.load_dataset(split)
    iterator = task.get_batch_iterator(task.dataset(split), max_tokens=200, seed=1, epoch=epoch)
    return task, model, list(iterator.next_epoch_itr(shuffle=False))


def test_two_updates_from_scratch_leave_a_checkpoint_with_a_validation_loss(text, tmp_path):
    state = read_checkpoint(train(text, tmp_path, 2, *TINY, "--bf16-autocast"))
    assert state["optimizer_history"][-1]["num_updates"] == 2
    uniform = np.log2(VOCABULARY)
    assert 0 < state["extra_state"]["best"] < uniform + 1  # base 2
    assert all(
        tensor.dtype == torch.float32 for tensor in state["model"].values() if tensor.is_floating_point()
    )


def test_it_learns_what_follows_from_the_neighbours(tmp_path, text):
    folder = tmp_path / "text"
    shutil.copytree(text, folder, ignore=shutil.ignore_patterns("save"))
    (folder / "train.txt").write_text("Drei Euro kostet der Zug.\n" * 200, encoding="utf-8")
    shutil.copy(folder / "train.txt", folder / "valid.txt")
    rates = ("--lr", 0.01, "--max-tokens", 1000, "--dropout", 0)
    state = read_checkpoint(train(folder, tmp_path / "save", 60, *TINY, *rates))
    assert state["extra_state"]["best"] < 0.5


def test_a_training_does_not_go_on_with_another_vocabulary(text, trained, tmp_path):
    """It has as many tokens, two of them exchanged: the weights would load."""
    shutil.copytree(text / "tokenizer", tmp_path / "tokenizer")
    path = tmp_path / "tokenizer" / "tokenizer.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = description["model"]["vocab"]
    vocabulary[60][0], vocabulary[61][0] = vocabulary[61][0], vocabulary[60][0]
    path.write_text(json.dumps(description), encoding="utf-8")
    (tmp_path / "resumed").mkdir()
    shutil.copy(trained, tmp_path / "resumed")
    for flags in (("--save-dir", tmp_path / "resumed"), ("--finetune-from-model", trained)):
        with pytest.raises(UserError, match=r"checkpoint_last.pt was trained with vocabulary \w{12}, .* has"):
            train(text, tmp_path / "new", 6, *TINY, "--bert-tokenizer", tmp_path / "tokenizer", *flags)
    assert not list((tmp_path / "new").glob("*.pt"))


def test_resuming_ends_where_an_uninterrupted_run_does(text, tmp_path):
    whole = read_checkpoint(train(text, tmp_path / "whole", 6, *TINY))["model"]
    train(text, tmp_path / "parts", 3, *TINY)
    parts = read_checkpoint(train(text, tmp_path / "parts", 6, *TINY))["model"]
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=0, atol=0)


def test_masks_change_with_the_epoch_in_training_and_never_in_validation(text):
    def hidden(split, epoch):
        rows = {}
        for batch in batches(text, split, epoch=epoch)[2]:
            width = batch["net_input"]["input_ids"].size(1)
            for position in batch["net_input"]["masked_index"].tolist():
                rows.setdefault(int(batch["id"][position // width]), []).append(position % width)
        return rows

    assert hidden("train", 1) == hidden("train", 1)
    assert hidden("train", 1) != hidden("train", 2)
    assert hidden("valid", 1) == hidden("valid", 2)


def test_batches_hide_what_they_ask_for_and_frame_every_line_once(text):
    task, _, found = batches(text, "train")
    special = task.tokenizer.special
    lines = (text / "train.txt").read_text(encoding="utf-8").splitlines()
    encoded = [task.tokenizer.encode(line).teacher_ids for line in filter(None, lines)]
    wanted = dict(enumerate(row for ids in encoded for row in rows_of(ids, task.positions - 2)))
    masked = total = 0
    for batch in found:
        inputs = batch["net_input"]["input_ids"].clone()
        index, labels = batch["net_input"]["masked_index"], batch["target"]
        masked += int((inputs.flatten()[index] == special.mask).sum())
        total += len(index)
        inputs.flatten()[index] = labels  # in place: the text comes back
        for row, ids, attended in zip(
            batch["id"].tolist(), inputs, batch["net_input"]["attention_mask"], strict=True
        ):
            assert ids[attended.bool()].tolist() == [special.cls, *wanted.pop(row), special.sep]
            assert (ids[~attended.bool()] == special.pad).all()
    assert not wanted
    assert 0.7 < masked / total < 0.9


def test_only_masked_positions_reach_the_vocabulary_and_nothing_else_changes(text):
    _, model, found = batches(text, "valid")
    model.eval()
    batch = found[0]["net_input"]
    with torch.no_grad():
        logits = model(**batch).vocabulary_logits()  # (M, V)
        everything = model.masked_lm.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits  # (B, S, V)
    expected = everything.flatten(0, 1)[batch["masked_index"]]
    torch.testing.assert_close(logits, expected)


def test_an_exported_model_is_the_trained_one(text, trained, tmp_path, capsys):
    output = tmp_path / "exported"
    assert main(["export", str(trained), "--to", "huggingface", "--output", str(output)]) == 0
    loaded = AutoModelForMaskedLM.from_pretrained(output).eval()
    tokenizer = AutoTokenizer.from_pretrained(output)
    assert tokenizer.model_max_length == 64
    ours = masked_lm_of_checkpoint(read_checkpoint(trained)).eval()
    batch = tokenizer(["It is [MASK] euros.", "Three [MASK]"], padding=True, return_tensors="pt")
    masked = torch.nonzero(batch["input_ids"].flatten() == tokenizer.mask_token_id).squeeze(1)
    assert len(masked) == 2
    with torch.no_grad():
        theirs = loaded(**batch).logits.flatten(0, 1)[masked]
        torch.testing.assert_close(ours(batch["input_ids"], batch["attention_mask"], masked), theirs)
    assert main(["export", str(trained), "--output", str(output)]) == 2
    assert "already holds a model; remove it" in capsys.readouterr().err


def test_an_exported_model_can_be_trained_further(text, trained, tmp_path):
    exported = tmp_path / "exported"
    main(["export", str(trained), "--output", str(exported)])
    flags = (text, *TASK, *TRAINING, "--bert", exported, "--save-dir", tmp_path / "save")
    run_train(*flags, "--max-update", 1, "--lr", 0.0)
    before, after = (
        read_checkpoint(path)["model"] for path in (trained, tmp_path / "save" / "checkpoint_last.pt")
    )
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor)


def test_a_model_of_another_family_works_too(text, tmp_path):
    """RoBERTa has its head elsewhere and counts positions from its padding index."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    shutil.copytree(text / "tokenizer", tmp_path / "roberta")
    config = RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=20,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    RobertaForMaskedLM(config).save_pretrained(tmp_path / "roberta")
    run_train(
        *(text, *TASK, *TRAINING, "--bert", tmp_path / "roberta", "--save-dir", tmp_path, "--max-update", 2)
    )
    assert main(["export", str(tmp_path / "checkpoint_last.pt"), "--output", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "roberta"


def test_long_lines_are_parted_and_counted(text, tmp_path, caplog):
    folder = tmp_path / "text"
    shutil.copytree(text, folder, ignore=shutil.ignore_patterns("save"))
    (folder / "train.txt").write_text("Drei Euro. " * 50 + "\nDrei Euro.\n", encoding="utf-8")
    with caplog.at_level("INFO"):
        task, _, found = batches(folder, "train", "--max-length", 12)
    assert max(batch["net_input"]["input_ids"].size(1) for batch in found) == 12
    assert "1 lines exceed 12 positions and are parted" in caplog.text
    pieces = len(task.tokenizer.encode("Drei Euro. " * 50 + "Drei Euro.").teacher_ids)
    assert sum(batch["ntokens"] - 2 * batch["nsentences"] for batch in found) == pieces


def without_mask_token(folder):
    config = json.loads((folder / "tokenizer" / "tokenizer_config.json").read_text())
    del config["mask_token"]
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "flags", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "tokenizer"), (), "tokenizer.* is not a directory"),
        (lambda folder: (folder / "tokenizer" / "tokenizer.json").unlink(), (), "has no tokenizer"),
        (without_mask_token, (), "has no mask token"),
        (lambda folder: (folder / "train.txt").write_text(" \n"), (), r"no text in .*train\.txt"),
        (lambda folder: (folder / "train.txt").unlink(), (), r"train\.txt does not exist"),
        (
            lambda folder: (folder / "train.txt").write_bytes(b"ok\nsch\xf6n\n"),
            (),
            r"train\.txt, line 2: byte 4 \(0xf6\) is not UTF-8",
        ),
        (None, ("--mask-probability", 0), r"--mask-probability is 0\.0, it must be in \(0, 1\]"),
        (None, ("--max-length", 65), r"--max-length is 65, it must be in \[3, 64\]"),
        (None, ("--dropout", 1), r"--dropout is 1\.0, it must be in \[0, 1\)"),
        (None, ("--heads", 3), "--hidden-size 16 is no multiple of --heads 3"),
        (None, ("--layers", 0), "--layers is 0, it must be from 1 to 65,536"),
        (None, ("--bert", "/nowhere/bert", "--positions", 9), "--layers is the size of a new model"),
        (None, ("--bert-tokenizer", ""), "a new BERT needs --bert-tokenizer DIR"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(text, tmp_path, damage, flags, message):
    folder = tmp_path / "text"
    shutil.copytree(text, folder, ignore=shutil.ignore_patterns("save"))
    if damage:
        damage(folder)
    with pytest.raises(UserError, match=message):
        train(folder, tmp_path / "save", 1, *TINY, *flags)
    assert not list((tmp_path / "save").glob("*.pt"))


def test_a_tokenizer_that_does_not_fit_the_model_is_refused(text, trained, tmp_path, capsys):
    bigger = tmp_path / "bigger"
    lines = (text / "train.txt").read_text(encoding="utf-8").splitlines()
    save_tokenizer(train_tokenizer(lines, TokenizerOptions(VOCABULARY + 20)), bigger)
    flags = ["export", str(trained), "--output", str(tmp_path / "out"), "--tokenizer", str(bigger)]
    assert main(flags) == 2
    assert "the tokenizer has 270 tokens, the model embeds 250" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_checkpoints_cannot_be_exported(tmp_path, capsys):
    torch.save({"model": {}, "cfg": {"model": {"_name": "transformer"}}}, tmp_path / "other.pt")
    assert main(["export", str(tmp_path / "other.pt"), "--output", str(tmp_path / "out")]) == 2
    assert "one of transformer; only those of bert_masked_lm" in capsys.readouterr().err
