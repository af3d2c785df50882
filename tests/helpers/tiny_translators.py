"""Tiny encoder-decoders and language models with random weights and tokenizers of a few words."""

import json
import shutil

import sentencepiece
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    NllbTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

LINES = ["ein hund sieht den mann", "a dog sees the man", "der mann geht", "the man goes", "hund und mann"]
SIZES = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 40,
}


def write_sentencepiece(path):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 20),
        model_prefix=str(path.with_suffix("")),
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return path


def pieces_of(path):
    model = sentencepiece.SentencePieceProcessor(str(path))
    return [(model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size())]


def _save(model, directory, scale=0.3):
    torch.manual_seed(3)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=scale)
    model.eval().save_pretrained(directory)
    return directory


def _spm(directory):
    directory.mkdir(parents=True)
    return write_sentencepiece(directory / "words.model")


def write_marian(directory, codes=(), languages=("de", "en"), separate=False):
    """Write a Marian; ``separate`` gives its target a vocabulary of its own, in reverse order and larger."""
    model = _spm(directory)
    pieces = [piece for piece, _ in pieces_of(model) if piece not in ("<s>", "</s>", "<unk>")]
    known = ["</s>", "<unk>", *pieces, *(f">>{code}<<" for code in codes), "<pad>"]
    (directory / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(known)}))
    for side in ("source", "target"):
        shutil.copy(model, directory / f"{side}.spm")
    files = [str(directory / name) for name in ("source.spm", "target.spm", "vocab.json")]
    pad = known.index("<pad>")
    special = {"pad_token_id": pad, "eos_token_id": 0, "decoder_start_token_id": pad}
    more = {"source_lang": languages[0], "target_lang": languages[1]}
    if separate:
        own = [
            *known[:2],
            *reversed(known[2:-1]),
            "<pad>",
            "▁x",
            "▁y",
        ]  # <pad> has the number of the source's
        (directory / "target_vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(own)}))
        more |= {"separate_vocabs": True, "target_vocab_file": str(directory / "target_vocab.json")}
        special |= {"decoder_vocab_size": len(own), "share_encoder_decoder_embeddings": False}
    MarianTokenizer(*files, **more).save_pretrained(directory)
    return _save(MarianMTModel(MarianConfig(vocab_size=len(known), **SIZES, **special)), directory)


def write_m2m100(directory):
    model = _spm(directory)
    known = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in pieces_of(model)[3:])]
    (directory / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(known)}))
    tokenizer = M2M100Tokenizer(str(directory / "vocab.json"), str(model))
    tokenizer.save_pretrained(directory)
    config = M2M100Config(vocab_size=len(known) + 108, **SIZES)
    return _save(M2M100ForConditionalGeneration(config), directory)


def write_nllb(directory):
    letters = ["▁", *sorted({letter for line in LINES for letter in line if letter != " "})]
    vocabulary = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters])}
    tokenizer = NllbTokenizer(vocab=vocabulary, merges=[])
    tokenizer.save_pretrained(directory)
    return _save(M2M100ForConditionalGeneration(M2M100Config(vocab_size=len(tokenizer), **SIZES)), directory)


def _write_mbart(directory, kind, **more):
    model = _spm(directory)
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces_of(model)[3:]]
    tokenizer = kind(vocab=vocabulary)
    tokenizer.save_pretrained(directory)
    config = MBartConfig(vocab_size=len(tokenizer), **more, **SIZES)
    return _save(MBartForConditionalGeneration(config), directory)


def write_mbart(directory):
    return _write_mbart(directory, MBartTokenizer)


def write_mbart50(directory):
    return _write_mbart(directory, MBart50Tokenizer, decoder_start_token_id=2)


def write_t5(directory):
    model = _spm(directory)
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces_of(model)[3:]]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0)
    tokenizer.save_pretrained(directory)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    return _save(T5ForConditionalGeneration(config), directory)


def byte_level(lines, special):
    """Return a tokenizer of bytes, and of some longer tokens of the lines."""
    backend = Tokenizer(models.BPE(unk_token=None))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(lines, trainer)
    return backend


def write_bart(directory):
    """Write a model that is made to say ``<s>`` first, of which only generation_config.json tells."""
    backend = byte_level(LINES, ["<s>", "<pad>", "</s>", "<unk>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    tokenizer.save_pretrained(directory)
    model = BartForConditionalGeneration(BartConfig(vocab_size=len(tokenizer), **SIZES))
    model.generation_config.forced_bos_token_id = 0
    return _save(model, directory)


def write_language_model(directory, learnt_positions=False):
    backend = byte_level([f"German: {line}\nEnglish: {line}\n" for line in LINES], ["</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    tokenizer.save_pretrained(directory)
    if learnt_positions:
        sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 256}
        config = GPT2Config(vocab_size=len(tokenizer), eos_token_id=0, bos_token_id=None, **sizes)
        return _save(GPT2LMHeadModel(config), directory)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=256, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    return _save(LlamaForCausalLM(config), directory)


WITH_CODES = {
    "m2m100": (write_m2m100, "de", "en"),
    "nllb": (write_nllb, "deu_Latn", "eng_Latn"),
    "mbart": (write_mbart, "de_DE", "en_XX"),
    "mbart50": (write_mbart50, "de_DE", "en_XX"),
}
"""Family of models that are told languages -> what writes a tiny one, its codes of German and English."""
