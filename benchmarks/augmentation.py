"""How many training examples a second augmentation makes, and what a masked language model costs it.

    python benchmarks/augmentation.py [--data FOLDER --corpus SST-2] [--sentences 2000] [--rounds 5]
        [--model DIRECTORY] [--mlm-sentences 64] [--released-sentences 8]

rules     sentences, and pairs, a second of CPU time by masking, parts of speech and n-grams with the BiLSTM
          paper's probabilities, duplicates left out of the count
tagging   sentences a second by the part-of-speech tagger, counted apart: it reads every sentence once,
          however many are made of it
mlm       words a second whose candidates a masked language model gives, ours (many words of many sentences a
          batch, the vocabulary layer at masked positions alone) against the way of TinyBERT's released code
          (data_augmentation.py: a word at a time, batch 1, float32, the vocabulary layer at every position);
          the bound is 4 times as many. Without a model, a BERT with random weights (6 layers, d = 384, 30,522
          pieces) stands in.

Without a corpus, sentences of the embedded corpus about numbers stand in. Medians of the rounds, with the
smallest and the largest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import measuring
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

from cmlm_kd.augmentation.masked_words import MaskedWords
from cmlm_kd.augmentation.mlm_replacement import FUNCTION_WORDS, MlmReplacement, ReplacementOptions
from cmlm_kd.augmentation.parts_of_speech import load_tagger, tag_sentence
from cmlm_kd.augmentation.rules import PAIR_ITERATIONS, SENTENCE_ITERATIONS, Augmentation, Rules
from cmlm_kd.data.classification import ReadingOptions, read_examples
from cmlm_kd.data.numbers import CorpusSizes, build_corpus
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.tokenization.pieces import PieceTokenizer

PIECES = 30_522  # BERT's


def read_sentences(data: Path | None, corpus: str, count: int) -> list[str]:
    if data is not None:
        return read_examples(data, "train", ReadingOptions(corpus)).first[:count]
    sizes = CorpusSizes(pairs=1, valid=1, test=1, monolingual=count)
    return build_corpus(1, sizes).monolingual


def rates(action: Callable[[], int], rounds: int) -> str:
    """Return how many things a second of CPU time the action makes; it returns their number."""
    measured = []
    for _ in range(rounds):
        start = time.process_time()
        made = action()
        measured.append(made / (time.process_time() - start))
    return measuring.spread(measured, 0, "{} a second ({}-{})")


def measure_rules(sentences: list[str], rounds: int) -> None:
    tagger = load_tagger("hanta-en")
    tagged = [tag_sentence(sentence, tagger) for sentence in sentences]
    words = sum(len(sentence.words) for sentence in tagged) / len(tagged)
    print(f"{len(tagged)} sentences of {words:.1f} words")
    singles = Augmentation(tagged, None, Rules(), SENTENCE_ITERATIONS, seed=1)
    pairs = Augmentation(tagged, tagged[1:] + tagged[:1], Rules(), PAIR_ITERATIONS, seed=1)
    print("rules    sentences", rates(lambda: sum(1 for _ in singles), rounds))
    print("rules    pairs    ", rates(lambda: sum(1 for _ in pairs), rounds))
    print("tagging  sentences", rates(lambda: len([tag_sentence(text, tagger) for text in sentences]), 1))


class Released:
    """TinyBERT's way to the candidates of words of one piece; remembers how many there were."""

    def __init__(self, model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.words = 0

    def augment(self, sentence: str) -> None:
        pieces = self.tokenizer.tokenize(sentence)
        for position, piece in enumerate(pieces):
            whole = position + 1 == len(pieces) or not pieces[position + 1].startswith("##")
            if whole and piece.isalpha() and piece not in FUNCTION_WORDS:
                self.candidates(sentence, position)
                self.words += 1

    @torch.no_grad()
    def candidates(self, sentence: str, position: int) -> list[str]:
        pieces = self.tokenizer.tokenize(sentence)  # anew for every word
        hidden = [*pieces[:position], "[MASK]", *pieces[position + 1 :]]
        row = self.tokenizer.convert_tokens_to_ids(["[CLS]", *hidden, "[SEP]", *pieces, "[SEP]"])
        types = [0] * (len(pieces) + 2) + [1] * (len(pieces) + 1)
        logits = self.model(torch.tensor([row]), token_type_ids=torch.tensor([types])).logits  # (1, S, V)
        best = logits[0, 1 + position].argsort(descending=True)[:15].tolist()
        return [token for token in self.tokenizer.convert_ids_to_tokens(best) if not token.startswith("##")]


class NoNeighbours:
    """Leaves words of several pieces alone: they do not go through the model."""

    def nearest(self, words: list[str], count: int) -> list[list[str]]:
        return [[] for _ in words]


def random_model(sentences: list[str], layers: int, hidden_size: int) -> tuple[MaskedLM, PieceTokenizer]:
    """Return a BERT with random weights and a tokenizer that knows the words of the sentences."""
    splitter = pre_tokenizers.BertPreTokenizer()
    pieces = {word for text in sentences for word, _ in splitter.pre_tokenize_str(text.lower())}
    words = [*measuring.SPECIAL, *sorted(pieces)]
    words += [f"word{i}" for i in range(PIECES - len(words))]
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), splitter
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    model = BertForMaskedLM(measuring.bert_config(len(words), layers, hidden_size))
    return MaskedLM(model), PieceTokenizer(measuring.fast_tokenizer(backend))


def measure_mlm(
    model: MaskedLM, tokenizer: PieceTokenizer, sentences: list[str], released_sentences: int, rounds: int
) -> None:
    released = Released(model.model, tokenizer.tokenizer)
    ours = {}
    for name, bf16 in (("float32", False), ("bfloat16", True)):
        options = ReplacementOptions(bf16_autocast=bf16)
        masked_words = MaskedWords(
            model,
            tokenizer,
            count=options.candidates,
            see_original=True,
            max_tokens=options.max_tokens,
            bf16_autocast=bf16,
            device=torch.device("cpu"),
        )
        ours[name] = MlmReplacement(masked_words, NoNeighbours(), options)
    config = model.config
    print(
        f"mlm      {config.num_hidden_layers} layers, d = {config.hidden_size}, {config.vocab_size:,} "
        f"pieces; {len(sentences)} sentences, the released way {released_sentences}; "
        f"{torch.get_num_threads()} threads"
    )

    words = {}  # of each way; every round has the same ones

    def by_released() -> None:
        released.words = 0
        for sentence in sentences[:released_sentences]:
            released.augment(sentence)
        words["released"] = released.words

    def by(name: str) -> None:
        found = ours[name].replaceable(sentences)
        words[name] = sum(bool(candidates) for sentence in found for candidates in sentence.candidates)

    actions = {"released": by_released} | {name: partial(by, name) for name in ours}
    times = measuring.in_turn(actions, rounds, measuring.wall_and_cpu)
    per_word = {name: seconds / words[name] for name, seconds in times.items()}  # (rounds, 2): wall, CPU
    for name, seconds in per_word.items():
        print(f"mlm      {name:8} words {measuring.bracketed(1 / seconds[:, 0], 1)} a second")
    for name in ours:
        ratios = per_word["released"] / per_word[name]  # (rounds, 2)
        wall, cpu = (measuring.bracketed(column, 1) for column in ratios.T)
        print(f"mlm      {name} to released (at least 4): {wall}, by CPU time {cpu}")


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder of a corpus")
    parser.add_argument("--corpus", default="SST-2", help="its name")
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="masked language model: Hugging Face directory or hub name")
    parser.add_argument("--layers", type=int, default=6, help="without --model")
    parser.add_argument("--hidden-size", type=int, default=384, help="without --model")
    parser.add_argument("--mlm-sentences", type=int, default=64, help="of them, for the model")
    parser.add_argument("--released-sentences", type=int, default=8, help="of these, for the released way")
    args = parser.parse_args()
    torch.manual_seed(0)
    sentences = read_sentences(args.data, args.corpus, args.sentences)
    measure_rules(sentences, args.rounds)
    if args.model is None:
        model, tokenizer = random_model(sentences, args.layers, args.hidden_size)
    else:
        model = MaskedLM.from_pretrained(args.model, with_head=True)
        tokenizer = PieceTokenizer.from_pretrained(args.model)
    measure_mlm(model, tokenizer, sentences[: args.mlm_sentences], args.released_sentences, args.rounds)


if __name__ == "__main__":
    main()
