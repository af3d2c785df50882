"""``cmlm-kd translate`` with models of fairseq's commands: text is read as fairseq-interactive reads it."""

import io
import re

import pytest
import sentencepiece
from fairseq_cli import preprocess
from fairseq_runs import TINY_STUDENT, run_interactive, run_train
from sacremoses import MosesTokenizer
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe
from tiny_translation import pairs
from toy_translator import lines_of, write_lines

from cmlm_kd.cli import main

TEXT = {
    "de": [f"{german.capitalize()}, wie's geht!" for german, _ in pairs()],
    "en": [f"{english.capitalize()}, how's that?" for _, english in pairs()],
}
KINDS = ("subword_nmt", "sentencepiece")


@pytest.fixture(scope="module", params=KINDS)
def stock(request, tmp_path_factory):
    """A translator of pieces that no file of ours describes; returns its folder, our flags and fairseq's."""
    root = tmp_path_factory.mktemp(request.param)
    cut, file = {"subword_nmt": learnt_codes, "sentencepiece": learnt_model}[request.param](root)
    for language, lines in TEXT.items():
        write_lines(root / f"train.{language}", [cut(language, line) for line in lines])
        write_lines(root / f"valid.{language}", [cut(language, line) for line in lines[:6]])
    parser = preprocess.options.get_preprocessing_parser()
    words = ["-s", "de", "-t", "en", "--trainpref", root / "train", "--validpref", root / "valid"]
    preprocess.main(parser.parse_args([*map(str, words), "--destdir", str(root / "data")]))
    run_train(
        *(root / "data", *TINY_STUDENT, "--task", "translation", "--criterion", "cross_entropy"),
        *("--lr", 0.02, "--dropout", 0, "--seed", 1, "--max-tokens", 800, "--max-update", 150),
        *("--save-dir", root / "student", "--no-epoch-checkpoints", "--no-progress-bar"),
    )
    moses = ("--tokenizer", "moses") if request.param == "subword_nmt" else ()
    own = (*moses, "--bpe", f"{request.param}={file}")
    named = "--bpe-codes" if moses else "--sentencepiece-model"
    return root, own, (*moses, "--bpe", request.param, named, str(file))


def learnt_codes(root):
    moses = {language: MosesTokenizer(language) for language in TEXT}
    tokenized = {
        language: [
            moses[language].tokenize(line, return_str=True, aggressive_dash_splits=True) for line in lines
        ]
        for language, lines in TEXT.items()
    }
    text = io.StringIO("\n".join([*tokenized["de"], *tokenized["en"]]))
    with (root / "codes").open("w") as codes:
        learn_bpe(text, codes, 40)
    with (root / "codes").open() as codes:
        bpe = BPE(codes)
    places = {
        language: dict(zip(lines, tokenized[language], strict=True)) for language, lines in TEXT.items()
    }
    return lambda language, line: bpe.process_line(places[language][line]), root / "codes"


def learnt_model(root):
    lines = write_lines(root / "lines", [*TEXT["de"], *TEXT["en"]])
    sentencepiece.SentencePieceTrainer.train(
        input=str(lines), model_prefix=str(root / "spm"), vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    model = sentencepiece.SentencePieceProcessor(str(root / "spm.model"))
    return lambda language, line: " ".join(model.encode(line, out_type=str)), root / "spm.model"


def translate(tmp_path, root, lines, *flags):
    source = write_lines(tmp_path / "x.de", lines)
    model = str(root / "student" / "checkpoint_last.pt")
    words = [
        "translate",
        "--model",
        model,
        "--input",
        source,
        "--output",
        tmp_path / "y.en",
        "--device",
        "cpu",
    ]
    return main([*map(str, words), *map(str, flags)])


@pytest.mark.parametrize("via", [(), ("--via", "ctranslate2")])
def test_text_is_read_and_written_as_fairseq_interactive_does(stock, tmp_path, via):
    root, own, fairseqs = stock
    model = root / "student" / "checkpoint_last.pt"
    printed = run_interactive(
        write_lines(tmp_path / "i.de", TEXT["de"]),
        *(root / "data", "--path", model, "--beam", 3, "--cpu", *fairseqs, "-s", "de", "-t", "en"),
        *("--buffer-size", 100, "--max-tokens", 2000),
    )
    expected = [line.split("\t")[2] for line in printed.splitlines() if line.startswith("D-")]
    assert translate(tmp_path, root, TEXT["de"], *own, "--beam", 3, *via) == 0
    found = lines_of(tmp_path / "y.en")
    assert found == expected
    assert sum(a == b for a, b in zip(found, TEXT["en"], strict=True)) > len(found) // 2


def test_text_that_is_cut_already(stock, tmp_path):
    root, own, _ = stock
    assert translate(tmp_path, root, TEXT["de"], *own) == 0
    whole = lines_of(tmp_path / "y.en")
    (tmp_path / "pieces").mkdir()
    assert translate(tmp_path / "pieces", root, lines_of(root / "train.de"), "--bpe", "pieces") == 0
    cut = lines_of(tmp_path / "pieces" / "y.en")
    joined = [re.sub("@@ ", "", line) if "@@" in "".join(cut) else line.replace(" ", "") for line in cut]
    spaces = str.maketrans("", "", " \u2581")
    assert [line.translate(spaces).replace("&apos;", "'") for line in joined] == [
        line.translate(spaces) for line in whole
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "or say with --bpe what the text was cut with"),
        (("--tokenizer", "moses"), "--tokenizer goes with --bpe"),
        (("--bpe", "gpt2=x"), "give one of subword_nmt=CODES, sentencepiece=MODEL, or pieces"),
        (("--bpe", "pieces=x"), "give one of subword_nmt=CODES"),
        (("--bpe", "sentencepiece"), "give one of subword_nmt=CODES"),
        (("--bpe", "sentencepiece=nowhere"), "nowhere is no file; give what the model's text was cut with"),
        (("--bpe", "sentencepiece={root}/train.de"), "cannot be set up"),
        (("--bpe", "subword_nmt={root}/student/checkpoint_last.pt"), "cannot be set up"),
    ],
)
def test_what_is_refused(stock, tmp_path, capsys, flags, message):
    root, _, _ = stock
    assert translate(tmp_path, root, TEXT["de"], *(flag.format(root=root) for flag in flags)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "y.en").exists()
