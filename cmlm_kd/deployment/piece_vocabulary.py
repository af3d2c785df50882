"""A student's two dictionaries as the one vocabulary of a Hugging Face model, and its tokenizer's files.

A model of transformers has one tokenizer, which makes ids of sources and text of translations. So its
vocabulary begins with the target dictionary, entry by entry, and goes on with what only sources have. The
encoder's embedding has a row for each: of an entry that the source dictionary lacks it is that of ``<unk>``,
which is what fairseq reads there.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmlm_kd.deployment.student import EOS, UNK, TranslationStudent
from cmlm_kd.errors import UserError
from cmlm_kd.tokenization.spelling import SPECIALS, WORD_START, spell_sentencepiece
from cmlm_kd.tokenization.wordpiece_marks import marked_normalizer, marked_pre_tokenizer, marked_spellings

_NEAREST = "export it to ctranslate2, which keeps the teacher's tokenizer as it is"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_TYPES = {"normal": 1, "unknown": 2, "control": 3, "byte": 6}
"""Of sentencepiece's tokens (``sentencepiece_model.proto``)."""


@dataclass(frozen=True)
class PieceVocabulary:
    """Entries of the one vocabulary.

    Attributes:
        tokens: how each is spelled in the tokenizer's files.
        source_rows: of each, the entry of the source dictionary that it stands for.
        target_size: how many, from the first, are those of the target dictionary.
    """

    tokens: list[str]
    source_rows: list[int]
    target_size: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def ids(self) -> dict[str, int]:
        """Token -> id."""
        return {token: i for i, token in enumerate(self.tokens)}


def write_entries_tokenizer(
    student: TranslationStudent, directory: Path, model_max_length: int
) -> PieceVocabulary:
    """Write files that ``AutoTokenizer.from_pretrained`` loads, and return the vocabulary that they have.

    Args:
        student: with its tokenizer.
        directory: where.
        model_max_length: longest source in tokens, its end counted.

    Raises:
        UserError: the tokenizer is of a kind that has no such form.
    """
    description = json.loads(student.pieces.tokenizer.backend_tokenizer.to_str())  # type: ignore[attr-defined]
    settings = {
        "bos_token": SPECIALS[0],
        "pad_token": SPECIALS[1],
        "eos_token": SPECIALS[2],
        "unk_token": SPECIALS[3],
        "model_max_length": model_max_length,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,  # "</s>" in a text is text
    }
    if student.pieces.kind == "wordpiece":
        vocabulary = _vocabulary(student, marked_spellings(description))
        document = _wordpiece_tokenizer(description, vocabulary)
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        _write(directory / "tokenizer.json", document)
    elif student.pieces.kind == "sentencepiece":
        spellings = {token: spell_sentencepiece(token) for token, _ in _pieces_and_scores(description)}
        vocabulary = _vocabulary(student, spellings)
        (directory / "sentencepiece.bpe.model").write_bytes(_sentencepiece_model(description))
        # The one tokenizer of transformers that cuts with sentencepiece, looks the result up in a list of
        # its own and adds nothing but the end of a sentence. It was written for fairseq's models of speech.
        settings["tokenizer_class"] = "Speech2TextTokenizer"
        _write(directory / "vocab.json", vocabulary.ids)
    else:
        raise UserError(
            f"{student.data} has the tokens of a byte-level BPE, whose merges know no student's dictionary, "
            f"so that transformers has no tokenizer for it; {_NEAREST}"
        )
    _write(directory / "tokenizer_config.json", settings)
    return vocabulary


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _vocabulary(student: TranslationStudent, spellings: dict[str, str]) -> PieceVocabulary:
    """Return the vocabulary.

    Args:
        student: with its dictionaries.
        spellings: token of the tokenizer's files -> the symbol that it stands for; the first of several that
            stand for one symbol is what a translation is read with.
    """
    sources = {symbol: i for i, symbol in enumerate(student.source_symbols)}
    preferred: dict[str, str] = {}
    for token, symbol in spellings.items():
        preferred.setdefault(symbol, token)
    tokens = [
        symbol if symbol in SPECIALS else preferred.get(symbol, symbol) for symbol in student.target_symbols
    ]
    known = set(tokens)
    tokens += [token for token, symbol in spellings.items() if symbol in sources and token not in known]
    symbols = [spellings.get(token, token) for token in tokens]
    rows = [i if i <= UNK else sources.get(symbol, UNK) for i, symbol in enumerate(symbols)]
    return PieceVocabulary(tokens, rows, len(student.target_symbols))


def _wordpiece_tokenizer(description: dict[str, Any], vocabulary: PieceVocabulary) -> dict[str, Any]:
    """Return ``tokenizer.json`` of a WordPiece whose words begin with ▁ where a space precedes."""
    normalizer, model = description.get("normalizer") or {}, description["model"]
    if normalizer.get("type") != "BertNormalizer":
        raise UserError(
            f"the teacher's tokenizer normalises text with {normalizer.get('type')}, which the exported one "
            f"would not; {_NEAREST}"
        )
    prefix = model.get("continuing_subword_prefix") or ""
    end = {"id": SPECIALS[EOS], "ids": [EOS], "tokens": [SPECIALS[EOS]]}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    last = {"SpecialToken": {"id": SPECIALS[EOS], "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
                **{"id": i, "content": token, "special": True},
            }
            for i, token in enumerate(SPECIALS)
        ],
        "normalizer": marked_normalizer(normalizer),
        "pre_tokenizer": marked_pre_tokenizer(normalizer),
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [text, last],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}, last],
            "special_tokens": {SPECIALS[EOS]: end},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"Regex": f"^{re.escape(prefix)}"}, "content": ""},
                {"type": "Replace", "pattern": {"String": WORD_START}, "content": " "},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "WordPiece",
            "unk_token": SPECIALS[UNK],
            "continuing_subword_prefix": prefix,
            "max_input_chars_per_word": int(model["max_input_chars_per_word"]) + 1,  # the mark counts
            "vocab": vocabulary.ids,
        },
    }


def _pieces_and_scores(description: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the tokens of a sentencepiece model with the scores by which it chooses among them."""
    model = description["model"]
    if model["type"] == "Unigram":
        return [(str(token), float(score)) for token, score in model["vocab"]]
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    return [(token, -float(ranks.get(token, len(merges)))) for token in model["vocab"]]


def _sentencepiece_model(description: dict[str, Any]) -> bytes:
    """Return the sentencepiece model that cuts text as a fast tokenizer does.

    Raises:
        UserError: the tokenizer changes text in a way that sentencepiece does not know.
    """
    from sentencepiece import sentencepiece_model_pb2

    cuts = {part["type"] for part in _steps(description.get("pre_tokenizer"), "pretokenizers")}
    if not cuts <= {"Metaspace", "WhitespaceSplit"}:
        raise UserError(
            f"the teacher's tokenizer cuts text with {', '.join(sorted(cuts))}, which sentencepiece does "
            f"not; {_NEAREST}"
        )
    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    special = {token["content"] for token in description["added_tokens"]}
    known = description["model"]
    unknown = known.get("unk_id")
    unknown = known.get("unk_token") if unknown is None else known["vocab"][unknown][0]
    for token, score in _pieces_and_scores(description):
        kind = "control" if token in special else "normal"
        kind = "byte" if known.get("byte_fallback") and _BYTE.fullmatch(token) else kind
        kind = "unknown" if token == unknown else kind
        model.pieces.add(piece=token, score=score, type=_TYPES[kind])
    trainer = model.trainer_spec
    trainer.model_type = 1 if known["type"] == "Unigram" else 2
    trainer.byte_fallback = bool(known.get("byte_fallback"))
    trainer.unk_piece, trainer.pad_piece = unknown, SPECIALS[1]
    trainer.unk_id = [token for token, _ in _pieces_and_scores(description)].index(unknown)
    trainer.bos_id = trainer.eos_id = trainer.pad_id = -1
    normalizer = model.normalizer_spec
    normalizer.name = "exported"
    normalizer.precompiled_charsmap = _character_map(description.get("normalizer"))
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = normalizer.escape_whitespaces = True
    return bytes(model.SerializeToString())


def _character_map(normalizer: dict[str, Any] | None) -> bytes:
    table = b""
    for step in _steps(normalizer, "normalizers"):
        spaces = step["type"] == "Strip" or (
            step["type"] == "Replace" and step["content"] in (" ", WORD_START)
        )
        if step["type"] == "Precompiled" and not table:
            table = base64.b64decode(step["precompiled_charsmap"])
        elif not spaces and step["type"] != "Prepend":
            raise UserError(
                f"the teacher's tokenizer normalises text with {step['type']}, which sentencepiece does not; "
                f"{_NEAREST}"
            )
    return table


def _steps(part: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """Return the steps of a part of a tokenizer, which may be a sequence of several."""
    return [] if part is None else part.get(name, [part])
