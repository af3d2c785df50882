"""A whole training with pkd and the teacher beside the student: this toolkit against TextBrewer and against
transformers' Trainer with the same loss.

Everything counts, from the start of the process to its last update: imports, data, updates. Each training is
a process of its own, round by round in turn, of as many updates on as many sentences::

    pip install --no-deps --target DIR textbrewer==0.2.1.post1 accelerate==1.15.0
    python benchmarks/peers.py [--updates 300] [--rounds 3] [--data glue/SST-2] [--peers DIR]

cmlm-kd     ``fairseq-train --task classification_kd --criterion pkd --teacher``
textbrewer  ``GeneralDistiller`` with its ``pkd`` matches, a shuffling DataLoader, transformers' padding
trainer     ``Trainer`` whose ``compute_loss`` is that of docs/criteria/pkd.md, written plainly
by-length   the same with ``train_sampling_strategy="group_by_length"``, which is not its default

All have one student (the teacher's first layers), one teacher, AdamW, batches of 32 and dropout as BERT has
it. The loss of 32 sentences without dropout is compared first: it must be the same to 1e-4. A peer that is
not installed is left out, and said to be. Without --data the sentences are made up, with the lengths of
SST-2's.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import AutoTokenizer, BertForSequenceClassification, DataCollatorWithPadding

ROOT = Path(__file__).resolve().parents[1]
PEERS = {"textbrewer": "textbrewer", "trainer": "accelerate", "by-length": "accelerate"}
"""A peer and the package that it takes beside this project's own."""
ALPHA, BETA, TEMPERATURE, RATE = 0.7, 100.0, 10.0, 2e-5
BATCH, LONGEST = 32, 128


# -- data and models, the same for all --------------------------------------------------------------------


def write_corpus(folder: Path, args: Namespace) -> None:
    """Write as many sentences as there are updates to make, in the format of SST-2."""
    generator, lines = np.random.default_rng(1), ["sentence\tlabel"]
    lengths = np.clip(generator.lognormal(2.0, 0.7, args.updates * BATCH).astype(int), 1, 60)
    for number, length in enumerate(lengths):
        words = generator.integers(0, args.words, length)
        lines.append(" ".join(f"w{word}" for word in words) + f"\t{number % 2}")
    for name, kept in {"train": lines, "dev": lines[:9]}.items():
        (folder / f"{name}.tsv").write_text("\n".join(kept) + "\n", encoding="utf-8")


def write_teacher(folder: Path, args: Namespace) -> None:
    torch.manual_seed(1)
    tokenizer = measuring.word_tokenizer(args.words)
    config = measuring.bert_config(len(tokenizer), args.teacher_layers, args.width)
    config.id2label, config.label2id = {0: "negative", 1: "positive"}, {"negative": 0, "positive": 1}
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.model_max_length = LONGEST
    tokenizer.save_pretrained(folder)


def load(folder: Path, layers: int) -> tuple[Any, Any, Any]:
    """Return tokenizer, teacher and student, as a script of one's own would load them."""
    teacher = BertForSequenceClassification.from_pretrained(folder).eval()
    student = BertForSequenceClassification.from_pretrained(folder, num_hidden_layers=layers).train()
    return AutoTokenizer.from_pretrained(folder), teacher, student


def layer_pairs(layers: int, teacher_layers: int) -> list[tuple[int, int]]:
    """Return PKD-Skip: the student's layers but the last, and the teacher's."""
    return [(layer, layer * teacher_layers // layers) for layer in range(1, layers)]


def read(path: Path, tokenizer: Any, count: int) -> list[dict[str, Any]]:
    rows = [line.rsplit("\t", 1) for line in path.read_text(encoding="utf-8").splitlines()[1 : count + 1]]
    encoded = tokenizer([text for text, _ in rows], truncation=True, max_length=LONGEST)["input_ids"]
    return [{"input_ids": ids, "labels": int(label)} for ids, (_, label) in zip(encoded, rows, strict=True)]


# -- the peers ---------------------------------------------------------------------------------------------


def plain_loss(
    student: Any, teacher: Any, batch: dict[str, torch.Tensor], pairs: list[tuple[int, int]]
) -> Any:
    """Return pkd's loss, mean over sentences (``--kd-mode paper``), as one would write it oneself."""
    output = student(**batch, output_hidden_states=True)
    with torch.no_grad():
        taught = teacher(
            batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
        )
    soft = F.softmax(taught.logits / TEMPERATURE, -1)  # (B, C)
    kd = -(TEMPERATURE**2) * (soft * F.log_softmax(output.logits / TEMPERATURE, -1)).sum(-1).mean()
    patience = 0.0
    for mine, theirs in pairs:
        own, wanted = output.hidden_states[mine][:, 0], taught.hidden_states[theirs][:, 0]  # (B, d)
        patience = patience + (F.normalize(own) - F.normalize(wanted)).square().sum(-1).mean()
    return (1 - ALPHA) * output.loss + ALPHA * kd + BETA * patience


def make_distiller(teacher: Any, student: Any, pairs: list[tuple[int, int]], folder: Path) -> Any:
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

    def adapt(batch: dict[str, Any], output: Any) -> dict[str, Any]:
        return {"logits": output.logits, "hidden": output.hidden_states, "losses": output.loss}

    matches = [
        {"layer_T": theirs, "layer_S": mine, "feature": "hidden", "loss": "pkd", "weight": BETA}
        for mine, theirs in pairs
    ]
    config = DistillationConfig(
        temperature=TEMPERATURE,
        kd_loss_weight=ALPHA * TEMPERATURE**2,
        hard_label_weight=1 - ALPHA,
        intermediate_matches=matches,
    )
    training = TrainingConfig(device="cpu", output_dir=str(folder), ckpt_steps=10**9)
    return GeneralDistiller(training, config, teacher, student, adapt, adapt)


def run_textbrewer(args: Namespace) -> None:
    tokenizer, teacher, student = load(args.folder / "teacher", args.layers)
    data = read(args.corpus / "train.tsv", tokenizer, args.updates * BATCH)
    pad = DataCollatorWithPadding(tokenizer)

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return dict(pad(rows))  # TextBrewer takes the names of a BatchEncoding for its tensors

    loader = torch.utils.data.DataLoader(data, BATCH, shuffle=True, collate_fn=collate)
    pairs = layer_pairs(args.layers, args.teacher_layers)
    distiller = make_distiller(teacher, student, pairs, args.folder / "textbrewer")
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE)
    with distiller:
        distiller.train(optimizer, loader, num_epochs=1, output_hidden_states=True)


def run_trainer(args: Namespace, strategy: str) -> None:
    from transformers import Trainer, TrainingArguments

    tokenizer, teacher, student = load(args.folder / "teacher", args.layers)
    pairs = layer_pairs(args.layers, args.teacher_layers)

    class Distilling(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            return plain_loss(model, teacher, inputs, pairs)

    settings = TrainingArguments(
        output_dir=str(args.folder / "trainer"),
        per_device_train_batch_size=BATCH,
        max_steps=args.updates,
        learning_rate=RATE,
        train_sampling_strategy=strategy,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
    )
    data = read(args.corpus / "train.tsv", tokenizer, args.updates * BATCH)
    Distilling(student, settings, DataCollatorWithPadding(tokenizer), data).train()


# -- this toolkit ------------------------------------------------------------------------------------------


def our_flags(args: Namespace) -> list[str]:
    teacher = args.folder / "teacher"
    words = (
        f"{args.corpus} --user-dir {ROOT / 'fairseq_plugins'} --task classification_kd --corpus SST-2 "
        f"--teacher {teacher} --arch bert_classifier --bert {teacher} --layers {args.layers} --criterion pkd "
        f"--kd-mode paper --kd-alpha {ALPHA} --kd-temperature {TEMPERATURE} --kd-beta {BETA} "
        f"--optimizer bert_adamw --lr {RATE} --batch-size {BATCH} --max-update {args.updates} --cpu "
        "--num-workers 0 --disable-validation --no-save --no-progress-bar --seed 1"
    )
    return words.split()


def our_loss(args: Namespace, batch: dict[str, torch.Tensor]) -> float:
    """Return the same loss of the criterion, mean over sentences, dropout left out."""
    from cmlm_kd.api.sources import TeacherBatch
    from cmlm_kd.criteria.pkd import PKD, PKDConfig
    from cmlm_kd.models.classifier import SequenceClassifier
    from cmlm_kd.teachers.ensemble import Member, TeacherEnsemble

    tokenizer, teacher, student = load(args.folder / "teacher", args.layers)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    own = SequenceClassifier(student, tokenizer, "student").eval()
    asked = SequenceClassifier(teacher, tokenizer, "teacher").eval()
    teachers = TeacherEnsemble([Member(asked, [0, 1])], "probabilities", asked.labels)
    criterion = PKD(PKDConfig(kd_mode="paper", kd_alpha=ALPHA, kd_temperature=TEMPERATURE, kd_beta=BETA))
    needs = criterion.needs(own.description, teachers.description)
    with torch.no_grad():
        signal = teachers.signal(TeacherBatch(torch.arange(BATCH), inputs), needs.teacher)
        loss = criterion.training_loss(own(**inputs, request=needs.student), batch["labels"], signal).loss
    return float(loss) / BATCH


def compare_losses(args: Namespace) -> None:
    """Refuse to compare times of trainings that do not mean the same."""
    tokenizer, teacher, student = load(args.folder / "teacher", args.layers)
    student.eval()
    rows = read(args.corpus / "train.tsv", tokenizer, BATCH)
    batch = dict(DataCollatorWithPadding(tokenizer)(rows))
    pairs = layer_pairs(args.layers, args.teacher_layers)
    with torch.no_grad():
        found = {
            "cmlm-kd": our_loss(args, batch),
            "trainer": float(plain_loss(student, teacher, batch, pairs)),
        }
        if "textbrewer" in installed():
            distiller = make_distiller(teacher, student, pairs, args.folder / "textbrewer")
            found["textbrewer"] = float(distiller.train_on_batch(batch, {"output_hidden_states": True})[0])
    print("loss of 32 sentences: " + ", ".join(f"{name} {loss:.6f}" for name, loss in found.items()))
    if max(found.values()) - min(found.values()) > 1e-4 * max(found.values()):
        raise SystemExit("the losses differ; times would mean nothing")


def installed() -> list[str]:
    return [name for name, package in PEERS.items() if importlib.util.find_spec(package)]


# -- measuring ---------------------------------------------------------------------------------------------


def train(args: Namespace, name: str) -> np.ndarray:
    """Run one training as a process; returns its wall-clock and its CPU seconds, ``(2,)``."""
    if name == "cmlm-kd":
        words = ["-m", "fairseq_cli.train", *our_flags(args)]
    else:
        words = [str(Path(__file__).resolve()), *sys.argv[1:], "--peer", name]
        words += ["--folder", str(args.folder), "--corpus", str(args.corpus)]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", ""), str(args.peers or "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment |= {"OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    printed, start = args.folder / f"{name}.out", time.perf_counter()
    with printed.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *words], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed:\n{printed.read_text()[-2000:]}")
    return np.array([seconds, used.ru_utime + used.ru_stime])


def measure(args: Namespace) -> None:
    peers = installed()
    for name in PEERS.keys() - peers:
        print(f"{name}: left out, {PEERS[name]} is not installed")
    names = ["cmlm-kd", *peers]
    spent: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for number in range(args.rounds):
        for name in names[:: -1 if number % 2 else 1]:
            spent[name].append(train(args, name))
    ours = np.array(spent["cmlm-kd"])  # (rounds, 2)
    for name in names:
        print(f"{name:<10} {np.median(np.array(spent[name])[:, 0]):.0f} s")
    for name in peers:
        ratios = ours / np.array(spent[name])  # (rounds, 2)
        bound = "" if name == "by-length" else " (at most 0.8)"
        for label, column in (("time", 0), ("CPU time", 1)):
            found = measuring.spread(ratios[:, column])
            print(f"whole training with pkd, {label}, cmlm-kd / {name}{bound}: {found}")


def main() -> None:
    parser = measuring.make_parser(__doc__)
    parser.add_argument("--data", type=Path, help="SST-2's folder, instead of made-up sentences")
    parser.add_argument(
        "--peers", type=Path, help="where TextBrewer and accelerate are, if not in this environment"
    )
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--layers", type=int, default=3, help="of the student")
    parser.add_argument("--teacher-layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384, help="a multiple of 32")
    parser.add_argument("--words", type=int, default=30_000, help="vocabulary of made-up sentences")
    parser.add_argument("--peer", choices=PEERS, help="only this training; used by the script itself")
    parser.add_argument("--folder", type=Path, help="likewise")
    parser.add_argument("--corpus", type=Path, help="likewise")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()  # a student has fewer layers than the teacher's folder
    if args.peers:
        sys.path.append(str(args.peers))
    if args.peer == "textbrewer":
        run_textbrewer(args)
    elif args.peer:
        run_trainer(args, {"trainer": "random", "by-length": "group_by_length"}[args.peer])
    else:
        with tempfile.TemporaryDirectory() as folder:
            args.folder, args.corpus = Path(folder), args.data or Path(folder)
            write_teacher(args.folder / "teacher", args)
            if args.data is None:
                write_corpus(args.folder, args)
            compare_losses(args)
            measure(args)


if __name__ == "__main__":
    main()
