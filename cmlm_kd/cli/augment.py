"""``cmlm-kd augment``: a training corpus made many times as large, for a teacher to label."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cmlm_kd.cli.arguments import add_device, chosen_device
from cmlm_kd.errors import UserError
from cmlm_kd.system.text import comma_separated

if TYPE_CHECKING:
    from cmlm_kd.augmentation.corpus import AugmentedCorpus
    from cmlm_kd.data.classification import Examples

HELP = "make many sentences, or pairs, of a training corpus, for a teacher to label"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags; probabilities and iterations are those of the papers."""
    parser.add_argument("data", type=Path, help="folder of the corpus, or a dataset saved on disk")
    parser.add_argument("--corpus", required=True, help="name of the corpus, as for --task classification_kd")
    parser.add_argument(
        "--output", type=Path, required=True, help="file to write, for --train-file of the same --corpus"
    )
    parser.add_argument("--train-file", default="", help="file to read, if not the corpus' own training set")
    parser.add_argument("--regression", action="store_true", help="text and datasets: the label is a score")
    parser.add_argument("--text-columns", default="", help="datasets: the one or two columns of sentences")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument(
        "--method",
        choices=("rules", "mlm"),
        default="rules",
        help="rules: the BiLSTM paper's masking, parts of speech and n-grams; mlm: TinyBERT's replacement by "
        "what a masked language model suggests",
    )
    parser.add_argument(
        "--iterations", type=int, help="how often an example is changed; default: 20, pairs by rules 10"
    )
    parser.add_argument(
        "--replace", type=float, help="probability that a word is replaced; default: rules 0.1, mlm 0.4"
    )
    parser.add_argument("--seed", type=int, default=1, help="equal seeds give equal files")
    _add_rules(parser.add_argument_group("rules"))
    _add_mlm(parser.add_argument_group("mlm"))


def _add_rules(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--mask", type=float, default=0.1, help="probability that a word is masked")
    parser.add_argument(
        "--ngram", type=float, default=0.25, help="probability that a sentence is cut to an n-gram"
    )
    parser.add_argument("--longest-ngram", type=int, default=5, help="most words of an n-gram")
    parser.add_argument(
        "--mask-word", default="[MASK]", help="a masked word as the teacher spells it; <mask> for a RoBERTa"
    )
    parser.add_argument(
        "--tagger",
        default="hanta-en",
        help="parts of speech: hanta-en, hanta-de, or MODULE:FUNCTION from a list of words to a list of tags",
    )


def _add_mlm(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--model", help="masked language model: Hugging Face directory or hub name")
    parser.add_argument(
        "--vectors",
        type=Path,
        help="word vectors (GloVe's text or .npy) whose neighbours replace words of several tokens; "
        "default: the model's own word embeddings",
    )
    parser.add_argument("--candidates", type=int, default=15, help="words to choose from for each word")
    parser.add_argument(
        "--mode",
        choices=("original", "paper"),
        default="original",
        help="original: the model sees the sentence beside the masked one, as the released code shows it; "
        "paper: the masked one alone",
    )
    parser.add_argument("--max-tokens", type=int, default=8192, help="model positions per batch")
    parser.add_argument("--bf16-autocast", action="store_true", help="compute in bfloat16")
    add_device(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the corpus and what was made from it, and say how much that is."""
    from cmlm_kd.data.classification import HUGGINGFACE, TEXT, ReadingOptions, read_examples, write_examples
    from cmlm_kd.evaluation.bleu_notes import name_of_script, script_without_spaces
    from cmlm_kd.system.files import check_file_place, check_new_file

    augmented = _by_rules(arguments) if arguments.method == "rules" else _by_mlm(arguments)
    if arguments.overwrite:
        check_file_place(arguments.output)
    else:
        check_new_file(arguments.output, "pass --overwrite, or give another file", owner="--output ")
    options = ReadingOptions(
        arguments.corpus,
        regression=arguments.regression,
        text_columns=comma_separated(arguments.text_columns),
    )
    examples = read_examples(arguments.data, "train", options, arguments.train_file)
    script = script_without_spaces(itertools.chain(examples.first, examples.second or ()))
    if script is not None:
        print(
            f"{examples.source} is written without spaces between words ({name_of_script(script)}): here "
            "a word is what stands between spaces, so that a whole clause is taken for one; cut the text "
            "into words first",
            file=sys.stderr,
        )
    corpus = augmented(examples)
    # A saved dataset is written as text: its columns are no table's.
    written_as = TEXT if arguments.corpus == HUGGINGFACE else arguments.corpus
    write_examples(arguments.output, written_as, corpus.examples)
    kind = "sentences" if examples.second is None else "pairs"
    print(
        f"{arguments.output}: {corpus.original:,} {kind} of {examples.source} and {corpus.new:,} new ones"
        + ("" if written_as == arguments.corpus else f"; read it with --corpus {written_as}")
    )
    print(
        f"  {corpus.tried:,} tried, {corpus.tried - corpus.new:,} of them left out because they were there "
        "before; labels are those of the examples they were made from: a teacher should judge them anew"
    )


def _by_rules(arguments: argparse.Namespace) -> Callable[[Examples], AugmentedCorpus]:
    from cmlm_kd.augmentation.corpus import augment_corpus
    from cmlm_kd.augmentation.rules import Rules

    replace = 0.1 if arguments.replace is None else arguments.replace
    rules = Rules(arguments.mask, replace, arguments.ngram, arguments.longest_ngram, arguments.mask_word)
    return lambda examples: augment_corpus(
        examples, rules, arguments.tagger, arguments.iterations, arguments.seed
    )


def _by_mlm(arguments: argparse.Namespace) -> Callable[[Examples], AugmentedCorpus]:
    import torch

    from cmlm_kd.augmentation.corpus import replace_words
    from cmlm_kd.augmentation.mlm_replacement import MlmReplacement, ReplacementOptions

    if not arguments.model:
        raise UserError(
            "--method mlm: --model is missing; give a masked language model, such as what the teacher was "
            "fine-tuned from"
        )
    chosen = {
        name: getattr(arguments, name)
        for name in ("iterations", "replace", "candidates", "mode", "seed", "max_tokens", "bf16_autocast")
        if getattr(arguments, name) is not None
    }
    options = ReplacementOptions(**chosen)
    device = torch.device(chosen_device(arguments))

    def augment(examples: Examples) -> AugmentedCorpus:
        replacement = MlmReplacement.from_pretrained(
            arguments.model, options, vectors=arguments.vectors, device=device
        )
        return replace_words(examples, replacement)

    return augment
