"""A fairseq Transformer as a model of transformers that computes the same.

Of what transformers 5 has, two architectures are fairseq's Transformer to the last operation, each with one
order of normalisation: Marian normalises each layer's output, Pegasus its input. Their tables of positions
are sine waves by their own formula, but are read from the file of weights where it has them, so that
fairseq's sine waves, or learnt positions, take their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmlm_kd.deployment.piece_vocabulary import PieceVocabulary, write_entries_tokenizer
from cmlm_kd.deployment.student import EOS, PAD, UNK, TranslationStudent
from cmlm_kd.deployment.transformer import TransformerSizes, positions, transformer_sizes
from cmlm_kd.system.hugging_face import load_saved
from cmlm_kd.system.transformers_reports import without_reports

_NEVER = -1e9
"""Added to the logits of entries that are no target entries: their probability is 0 in float32."""

NEAREST = "export it to onnx, or decode it with fairseq-generate"


def write_huggingface(student: TranslationStudent, directory: Path, texts: Sequence[str]) -> list[bool]:
    """Write a student as a directory for ``AutoModelForSeq2SeqLM`` and ``AutoTokenizer``.

    Args:
        student: a Transformer.
        directory: an empty one.
        texts: sentences to try its tokenizer on.

    Returns:
        of each text whether the tokenizer gives the model what fairseq gives it. Of sentencepiece's it does;
        WordPiece cuts a token that the student's dictionary lacks into smaller ones that it has.

    Raises:
        UserError: no architecture of transformers holds it, naming what stands in the way.
    """
    from transformers import AutoTokenizer

    sizes = transformer_sizes(student, "transformers", NEAREST)
    vocabulary = write_entries_tokenizer(student, directory, sizes.positions[0])
    model = _model(student, sizes, vocabulary)
    with without_reports():
        model._keys_to_ignore_on_save = None  # the table of positions belongs to the model here
        model.save_pretrained(directory)
        ids = load_saved(AutoTokenizer, directory)(list(texts), truncation=False, verbose=False)["input_ids"]
    sources = {symbol: i for i, symbol in enumerate(student.source_symbols)}
    read = [[vocabulary.source_rows[i] for i in row] for row in ids]
    wanted = [
        [*(sources.get(symbol, UNK) for symbol in pieces.symbols), EOS]
        for pieces in student.pieces.encode_batch(texts)
    ]
    return [a == b for a, b in zip(read, wanted, strict=True)]


def _model(student: TranslationStudent, sizes: TransformerSizes, vocabulary: PieceVocabulary) -> Any:
    """Return the model of transformers with the student's weights."""
    from transformers import MarianConfig, MarianMTModel, PegasusConfig, PegasusForConditionalGeneration

    settings: dict[str, Any] = {
        "vocab_size": len(vocabulary),
        "d_model": sizes.width,
        "encoder_layers": sizes.layers[0],
        "decoder_layers": sizes.layers[1],
        "encoder_attention_heads": sizes.heads[0],
        "decoder_attention_heads": sizes.heads[1],
        "encoder_ffn_dim": sizes.inner[0],
        "decoder_ffn_dim": sizes.inner[1],
        "activation_function": sizes.activation,
        "scale_embedding": sizes.scale != 1.0,
        "max_position_embeddings": max(sizes.positions),
        "dropout": float(student.settings.get("dropout") or 0),
        "attention_dropout": float(student.settings.get("attention_dropout") or 0),
        "activation_dropout": float(student.settings.get("activation_dropout") or 0),
        "bos_token_id": 0,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "decoder_start_token_id": EOS,
        "forced_eos_token_id": None,
    }
    if sizes.pre_norm:
        config: Any = PegasusConfig(**settings, tie_word_embeddings=sizes.tied_all)
        model: Any = PegasusForConditionalGeneration(config)
    else:
        config = MarianConfig(
            **settings,
            decoder_vocab_size=len(vocabulary) if sizes.tied_all else vocabulary.target_size,
            share_encoder_decoder_embeddings=sizes.tied_all,
            tie_word_embeddings=sizes.tied_output,
        )
        model = MarianMTModel(config)
    model.load_state_dict(_weights(student, sizes, vocabulary, model.state_dict()))
    model.generation_config.update(
        num_beams=5,
        max_length=min(sizes.positions[1], student.usual_target_tokens + 1),  # what it begins with counts
        bos_token_id=0,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=EOS,
        forced_eos_token_id=None,
        # As fairseq decodes: padding is never said, and a translation is not empty.
        suppress_tokens=[PAD],
        begin_suppress_tokens=[EOS],
    )
    return model.eval()


def _weights(
    student: TranslationStudent,
    sizes: TransformerSizes,
    vocabulary: PieceVocabulary,
    wanted: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return the student's weights under the names, and in the shapes, of transformers."""
    weights = student.weights
    rows = torch.tensor(vocabulary.source_rows)
    source = weights["encoder.embed_tokens.weight"][rows]  # (U, d)
    decoder = weights["decoder.embed_tokens.weight"]
    output = weights.get("decoder.output_projection.weight", decoder)
    size = len(wanted["lm_head.weight"])  # U, or that of the target dictionary
    never = torch.zeros(1, size)
    never[:, vocabulary.target_size :] = _NEVER
    named = {
        **{f"model.{name}": tensor for name, tensor in weights.items() if ".layer" in name},
        "model.shared.weight": source,
        "model.encoder.embed_tokens.weight": source,
        "model.decoder.embed_tokens.weight": _filled(decoder, size),
        "lm_head.weight": _filled(output, size),
        "final_logits_bias": never,
    }
    for side in ("encoder", "decoder"):
        name = f"model.{side}.embed_positions.weight"
        named[name] = positions(student, side, len(wanted[name]))
    return {name: named[name] for name in wanted}


def _filled(matrix: Tensor, rows: int) -> Tensor:
    """Return a matrix with rows of zeros behind it."""
    return torch.nn.functional.pad(matrix, (0, 0, 0, rows - len(matrix)))
