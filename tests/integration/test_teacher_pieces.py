"""``--bpe teacher_pieces``: fairseq-interactive reads and writes text, in the data-bin's own pieces."""

import logging
import re
from argparse import Namespace

import pytest
from fairseq.data import Dictionary, encoders
from fairseq.data.indexed_dataset import MMapIndexedDataset
from fairseq.utils import import_user_module
from fairseq_runs import TINY_STUDENT, USER_DIR, run_generate, run_interactive, run_train
from omegaconf import OmegaConf
from tiny_tokenizers import training_lines, write_byte_level, write_sentencepiece, write_wordpiece

from cmlm_kd.data.translation.manifest import PrepareOptions
from cmlm_kd.data.translation.prepare import prepare
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.generation import read_hypotheses
from cmlm_kd.tokenization.pieces import pieces_to_text

GERMAN = ["Zwei Männer.", "Der Mann hat 3 Euro.", "Wie spät ist es?", "Ein x▁y ☃ Mann, 😀."]
ENGLISH = ["Two men.", "The man has $3.", "What's the time, 😀?", "An x▁y man."]
WRITERS = {
    "wordpiece": lambda path, lines: write_wordpiece(path, lines, lowercase=False),
    "bytelevel": lambda path, lines: write_byte_level(path, lines, add_prefix_space=False),
    "sentencepiece": write_sentencepiece,
}


def prepare_texts(root, kind):
    """Prepare the embedded corpus, its first pairs for validation too, and odd text as the test set."""
    lines = training_lines()
    WRITERS[kind](root / "teacher", lines)
    lines = lines[: len(lines) // 2 * 2]
    texts = {
        "train": (lines[::2], lines[1::2]),
        "valid": (lines[:8:2], lines[1:8:2]),
        "test": (GERMAN, ENGLISH),
    }
    for split, sides in texts.items():
        for language, side in zip(("de", "en"), sides, strict=True):
            (root / f"{split}.{language}").write_text("".join(f"{line}\n" for line in side), encoding="utf-8")
    prefixes = {split: str(root / split) for split in texts}
    prepare(PrepareOptions(str(root / "teacher"), "de", "en", prefixes), root / "data")
    return root


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_texts(tmp_path_factory.mktemp("pieces"), "bytelevel")


def build(teacher):
    import_user_module(Namespace(user_dir=str(USER_DIR)))
    return encoders.build_bpe(
        OmegaConf.create({"_name": "teacher_pieces", "teacher_tokenizer": str(teacher)})
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_raw_text_is_cut_like_the_data_and_comes_back(tmp_path, kind):
    root = prepare_texts(tmp_path, kind)
    bpe = build(root / "data" / "teacher")
    dictionary = Dictionary.load(str(root / "data" / "dict.de.txt"))
    for split in ("train", "test"):
        rows = MMapIndexedDataset(str(root / "data" / f"{split}.de-en.de"))
        raw = (root / "data" / "raw" / f"{split}.de").read_text(encoding="utf-8").split("\n")[:-1]
        for row, text in zip(rows, raw, strict=True):
            pieces = bpe.encode(text)
            assert dictionary.encode_line(pieces, add_if_not_exist=False).tolist() == row.tolist()
            if "<unk>" not in pieces:
                assert bpe.decode(pieces) == text
                if "<0x" not in pieces:
                    assert bpe.decode(dictionary.string(row, "sentencepiece")) == text or split == "test"


# With fairseq's own commands


@pytest.fixture(scope="module")
def student(prepared):
    """Train with fairseq's translation task and validate with BLEU; returns the path and what was logged."""
    flags = [prepared / "data", "--task", "translation", "--save-dir", prepared / "checkpoints"]
    flags += [*TINY_STUDENT, "--lr", 0.02, "--criterion", "label_smoothed_cross_entropy"]
    flags += ["--max-tokens", 1500, "--max-update", 30, "--validate-interval", 100]
    flags += ["--no-epoch-checkpoints", "--no-progress-bar"]
    flags += ["--eval-bleu", "--eval-bleu-remove-bpe", "sentencepiece", "--eval-bleu-print-samples"]
    flags += ["--eval-bleu-args", '{"beam": 1, "max_len_a": 0, "max_len_b": 8}']
    flags += ["--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"]
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("fairseq.tasks.translation")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        run_train(*flags)
    finally:
        logger.removeHandler(handler)
    return prepared / "checkpoints" / "checkpoint_best.pt", messages


def lines_of(output, letter):
    found = dict(re.findall(rf"^{letter}-(\d+)\t(.*)$", output, re.MULTILINE))
    return [found[str(i)] for i in range(len(found))]


def test_interactive_and_generate_agree(prepared, student, tmp_path):
    decoding = ("--task", "translation", "--cpu", "--beam", 2, "--max-len-a", 0, "--max-len-b", 8)
    flags = (prepared / "data", "-s", "de", "-t", "en", "--path", student[0], *decoding)
    bpe = ("--bpe", "teacher_pieces", "--teacher-tokenizer", prepared / "data" / "teacher")
    outputs = {
        "interactive": run_interactive(prepared / "test.de", *flags, *bpe),
        "generate": run_generate(*flags),
        "post-process": run_generate(*flags, *bpe, "--post-process", "sentencepiece"),
    }
    assert lines_of(outputs["interactive"], "S") == lines_of(outputs["generate"], "S")
    pieces = [line.split("\t")[1] for line in lines_of(outputs["interactive"], "H")]
    texts = [line.split("\t")[1] for line in lines_of(outputs["interactive"], "D")]
    assert all(line.startswith("▁") for line in pieces)
    assert texts == [pieces_to_text(line.split()) for line in pieces]
    for name, output in outputs.items():
        (tmp_path / name).write_text(output, encoding="utf-8")
        assert read_hypotheses(tmp_path / name, len(GERMAN)) == texts, name


def test_bleu_of_the_validation_set_compares_text(prepared, student):
    references = [line for line in student[1] if line.startswith("example reference: ")]
    assert len(references) == 1
    raw = (prepared / "valid.en").read_text(encoding="utf-8").split("\n")
    assert references[0].removeprefix("example reference: ") in raw


# By itself


def test_words_begin_where_the_mark_is(prepared):
    bpe = build(prepared / "teacher")
    pieces = bpe.encode(ENGLISH[2]).split()
    assert [bpe.is_beginning_of_word(piece) for piece in pieces] == [piece[0] == "▁" for piece in pieces]
    assert all(bpe.is_beginning_of_word(special) for special in ("<s>", "<pad>", "</s>", "<unk>"))


@pytest.mark.parametrize("text", ["", "   ", "x▁y", "Two  men.", "▁ 😀"])
def test_encode_and_decode(prepared, text):
    bpe = build(prepared / "teacher")
    assert bpe.decode(bpe.encode(text)) == " ".join(text.split())


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match="has no tokenizer"):
        build(tmp_path)
    with pytest.raises(
        UserError, match="--teacher-tokenizer is missing; give the 'teacher' folder of the prepared"
    ):
        build("")
