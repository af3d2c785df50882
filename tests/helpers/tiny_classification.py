"""A tiny sentiment corpus and tiny random BERTs with the tokenizer of its words."""

import random

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

GOOD = ["good", "great", "lovely", "fine", "superb"]
BAD = ["bad", "awful", "poor", "dull", "weak"]
FILLERS = ["the", "film", "was", "a", "plot", "and", "acting", "really", "very", "quite"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LABELS = ("negative", "positive")


def sentences(count, seed=0):
    """Sentences whose one telling word decides the class, as (text, class)."""
    generator = random.Random(seed)
    made = []
    for _ in range(count):
        label = generator.randrange(2)
        words = generator.choices(FILLERS, k=generator.randint(1, 9))
        words.insert(generator.randint(0, len(words)), generator.choice((BAD, GOOD)[label]))
        made.append((" ".join(words), label))
    return made


def write_sst2(folder, train=48, dev=16):
    """Write train.tsv and dev.tsv as GLUE's SST-2 has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("dev", dev, 2)):
        rows = "".join(f"{text}\t{label}\n" for text, label in sentences(count, seed))
        (folder / f"{name}.tsv").write_text("sentence\tlabel\n" + rows, encoding="utf-8")
    return folder


def write_pairs(folder, corpus="RTE", train=24, dev=10):
    """Write pairs in the columns of RTE (classes) or STS-B (scores)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 3), ("dev", dev, 4)):
        first, second = sentences(count, seed), sentences(count, seed + 10)
        rows = []
        for index, ((a, x), (b, y)) in enumerate(zip(first, second, strict=True)):
            same = x == y
            if corpus == "RTE":
                rows.append(f"{index}\t{a}\t{b}\t{'entailment' if same else 'not_entailment'}")
            else:
                rows.append(f"{index}\t{a}\t{b}\t{4.0 + index % 3 / 2 if same else index % 3 / 2:.3f}")
        header = "index\tsentence1\tsentence2\t" + ("label" if corpus == "RTE" else "score")
        (folder / f"{name}.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def make_tokenizer(extra=()):
    words = [*SPECIAL, *GOOD, *BAD, *FILLERS, *extra]
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=40, **{f"{name}_token": word for name, word in names}
    )


def write_bert(folder, *, labels=LABELS, layers=4, width=16, heads=2, seed=0, extra=(), positions=40):
    """Write a random BERT: a classifier, or with ``labels=None`` an encoder without head."""
    tokenizer = make_tokenizer(extra)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=positions,
    )
    if labels is not None:
        names = list(labels) or ["score"]
        config.id2label, config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    torch.manual_seed(seed)
    model = BertModel(config) if labels is None else BertForSequenceClassification(config)
    with torch.no_grad():  # far enough from zero for classes to differ
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 3.0 if name.startswith("classifier") else 0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_masked_lm(folder):
    """Write a random masked language model with the same tokenizer."""
    write_bert(folder, labels=None, layers=1)
    BertForMaskedLM(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder


def classification(data, save_dir, *flags, bert, corpus="SST-2", criterion="sentence_classification"):
    """Flags of a short training run."""
    return (
        *(data, "--task", "classification_kd", "--corpus", corpus, "--arch", "bert_classifier"),
        *("--bert", bert, "--criterion", criterion, "--optimizer", "bert_adamw", "--cpu"),
        *("--batch-size", 8, "--save-dir", save_dir, "--seed", 1, "--max-update", 2),
        *("--no-epoch-checkpoints", "--no-progress-bar", *flags),
    )
