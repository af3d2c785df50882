"""Sentences a second of ``cmlm-kd translate --via ctranslate2`` against fairseq's own search, and their BLEU.

It trains a student of 4+4 layers, so that hypotheses have the lengths of real ones: with ``--captions`` on
the captions of Multi30k, whose validation and test set it translates, without on sentences about numbers, in
some hundred updates. ``--checkpoint`` takes a student that there is::

    python benchmarks/translate.py --captions multi30k
    python benchmarks/translate.py [--checkpoint student/checkpoint_best.pt --input test.de --reference
    test.en]

fairseq decodes what ``fairseq-generate`` would: its batches, its generator, its strings. Its best batch size
is looked for first. Models are loaded and converted beforehand. One thread each; with ``--cpu-time`` the
clock is that of the process, for a machine with other work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import in_turn, make_parser, operator_seconds, spread
from sacrebleu.metrics.bleu import BLEU

from cmlm_kd.api.translator import Decoding, ModelChoice, Translator
from cmlm_kd.data.translating.engine import translate_texts
from cmlm_kd.models.translators.kinds import load_translator
from cmlm_kd.system.text import read_lines

ROOT = Path(__file__).resolve().parents[1]
SIZES = (
    "--encoder-layers 4 --decoder-layers 4 --encoder-attention-heads 4 --decoder-attention-heads 4 "
    "--encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256"
)
TRAINING = (
    "--task translation --arch transformer --criterion label_smoothed_cross_entropy --label-smoothing 0.1 "
    "--share-decoder-input-output-embed --optimizer adam --adam-betas (0.9,0.98) --lr 4e-3 --clip-norm 1 "
    "--lr-scheduler inverse_sqrt --warmup-updates 60 --max-tokens 1500 --dropout 0.1 --seed 1 --cpu "
    "--no-epoch-checkpoints --required-batch-size-multiple 1 --num-workers 0 --no-progress-bar"
)
QUANTIZATIONS = ("float32", "int8")
LANGUAGES = ("de", "en")
PIECES = 1200


def run(*words: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *map(str, words)], check=True, env=environment, stdout=subprocess.DEVNULL)


def numbers(folder: Path) -> tuple[Path, Path, list[Path]]:
    """Write the corpus of sentences about numbers.

    Returns:
        prefixes of the training and of the validation set, and those of what is translated.
    """
    run("-m", "cmlm_kd", "numbers-corpus", folder, "--valid", 20, "--test", 1, "--monolingual", 1)
    return folder / "train", folder / "valid", [folder / "train"]


def captions(folder: Path, given: Path) -> tuple[Path, Path, list[Path]]:
    """Copy the captions that are given; what is translated the student has not learnt from."""
    run("-m", "cmlm_kd", "fetch-multi30k", folder, "--from", given)
    held_out = [folder / "val", folder / "test_2016_flickr"]
    return folder / "train", held_out[0], held_out


def train(folder: Path, corpus: tuple[Path, Path, list[Path]], updates: int) -> tuple[Path, Path, Path]:
    """Return a checkpoint, sources and references."""
    (training, valid, translated), tool = corpus, ("-m", "cmlm_kd")
    texts = [_text(training, language) for language in LANGUAGES]
    run(*tool, "train-tokenizer", "--vocab-size", PIECES, "--input", *texts, "--output", folder / "bert")
    from transformers import AutoTokenizer, BertConfig

    pieces = len(AutoTokenizer.from_pretrained(folder / "bert"))
    BertConfig(vocab_size=pieces, max_position_embeddings=256).save_pretrained(folder / "bert")
    pairs = ("--trainpref", training, "--validpref", valid, "--destdir", folder / "data")
    run(*tool, "prepare", "--teacher", folder / "bert", "-s", "de", "-t", "en", *pairs)
    place = (
        "--save-dir",
        folder / "student",
        "--max-update",
        updates,
        "--user-dir",
        ROOT / "fairseq_plugins",
    )
    trained = ("-c", "from fairseq_cli.train import cli_main; cli_main()", folder / "data")
    run(*trained, *TRAINING.split(), *SIZES.split(), *place)
    for language in LANGUAGES:
        lines = [line for prefix in translated for line in read_lines(_text(prefix, language))]
        (folder / f"translated.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sides = (folder / f"translated.{language}" for language in LANGUAGES)
    return folder / "student" / "checkpoint_last.pt", *sides


def _text(prefix: Path, language: str) -> Path:
    plain = prefix.with_name(f"{prefix.name}.{language}")
    return plain if plain.exists() else plain.with_name(f"{plain.name}.gz")


def fairseq_decoder(translator: Translator, texts: list[str], beam: int) -> Callable[[int], list[str]]:
    """Return a function from a batch size to translations, by fairseq's batches, generator and strings."""
    ensemble = translator.ensemble  # type: ignore[attr-defined]
    task, models = ensemble.task, ensemble.models
    generator = task.build_generator(models, argparse.Namespace(beam=beam))

    def decode(size: int) -> list[str]:
        tokens = [torch.tensor(source.tokens) for source in translator.encode(texts)]
        dataset = task.build_dataset_for_inference(tokens, [len(row) for row in tokens])
        batches = task.get_batch_iterator(dataset, max_sentences=size).next_epoch_itr(shuffle=False)
        said = [""] * len(texts)
        for batch in batches:
            found = task.inference_step(generator, models, batch)
            for row, hypotheses in zip(batch["id"].tolist(), found, strict=True):
                said[row] = task.target_dictionary.string(hypotheses[0]["tokens"], "sentencepiece")
        return said

    return decode


OPERATIONS = {
    "products of weights": ("aten::addmm", "aten::mm"),
    "attention's products": ("aten::bmm", "aten::_scaled_dot_product_flash_attention_for_cpu"),
    "choosing and copying hypotheses": tuple(
        f"aten::{name}"
        for name in ("index_select", "index", "gather", "topk", "cat", "copy_", "masked_fill_")
    ),
}
"""Part of a search -> operations of torch that it is made of; everything else is the rest."""


def print_profile(decode: Callable[[int], list[str]], size: int) -> None:
    """Print the share of fairseq's time that each part of the search takes."""
    spent = operator_seconds(lambda: decode(size))
    total, rest = sum(spent.values()), 1.0
    for part, operations in OPERATIONS.items():
        share = sum(spent.get(name, 0) for name in operations) / total
        rest -= share
        print(f"  {part}: {share:.0%} of fairseq's time")
    print(f"  everything else: {rest:.0%} of fairseq's time")


def best_size(decode: Callable[[int], list[str]], sizes: list[int], clock: Callable[[], float]) -> int:
    """Return the batch size with which fairseq is fastest."""
    seconds = {}
    for size in sizes:
        start = clock()
        decode(size)
        seconds[size] = clock() - start
        print(f"fairseq, batches of {size}: {seconds[size]:.1f} s")
    return min(seconds, key=lambda size: seconds[size])


def main() -> None:
    parser = make_parser(__doc__ or "")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--input", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument(
        "--captions", type=Path, metavar="DIR", help="Multi30k's files, to train a student on"
    )
    parser.add_argument(
        "--updates", type=int, help="of the student that is trained; default: 400, with --captions 2000"
    )
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--max-tokens", type=int, default=512, help="of a batch of ours")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print where fairseq's time goes, too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.process_time if args.cpu_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, source, reference = args.checkpoint, args.input, args.reference
        if checkpoint is None:
            place, given = Path(folder), args.captions
            corpus = numbers(place / "corpus") if given is None else captions(place / "corpus", given)
            updates = args.updates or (400 if given is None else 2000)
            checkpoint, source, reference = train(place, corpus, updates)
        texts, references = (read_lines(path)[: args.sentences] for path in (source, reference))
        choice = ModelChoice((), data=args.data)
        base = load_translator(str(checkpoint), choice)
        ours = {
            kind: load_translator(
                str(checkpoint), ModelChoice((), data=args.data, quantize=kind), via="ctranslate2"
            )
            for kind in QUANTIZATIONS
        }
    decode = fairseq_decoder(base, texts, args.beam)
    size = best_size(decode, args.batch_sizes, clock)
    if args.profile:
        print_profile(decode, size)
    decoding, said = Decoding(beam=args.beam), {}

    def translate(kind: str) -> None:
        found = translate_texts(ours[kind], texts, decoding, max_tokens=args.max_tokens)
        said[kind] = [row[0].text if row else "" for row in found]

    actions: dict[str, Callable[[], object]] = {"fairseq": lambda: said.update(fairseq=decode(size))}
    actions |= {kind: lambda kind=kind: translate(kind) for kind in QUANTIZATIONS}
    seconds = in_turn(actions, args.rounds, clock)
    bleu = {name: BLEU().corpus_score(lines, [references]).score for name, lines in said.items()}
    print(
        f"fairseq, batches of {size}: {spread(len(texts) / seconds['fairseq'], 0)} sentences/s, BLEU "
        f"{bleu['fairseq']:.2f}"
    )
    for kind, (least, apart) in {"float32": (8, 0.1), "int8": (12, 0.3)}.items():
        rates, ratios = len(texts) / seconds[kind], seconds["fairseq"] / seconds[kind]
        same = np.mean([a == b for a, b in zip(said[kind], said["fairseq"], strict=True)])
        print(f"--via ctranslate2, {kind}: {spread(rates, 0)} sentences/s, {same:.1%} of the lines equal")
        print(f"  times as fast as fairseq (at least {least}): {spread(ratios)}")
        print(f"  BLEU {bleu[kind]:.2f}, apart (at most {apart}): {abs(bleu[kind] - bleu['fairseq']):.2f}")


if __name__ == "__main__":
    main()
