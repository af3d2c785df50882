"""Every target in an environment that has its runtime and nothing of this project: are the answers the same?

Trains small students on real captions and real reviews, exports each to every target that holds it, makes an
environment for each runtime in a temporary folder, and runs there what the model card says, once a sentence::

    python scripts/fresh_environments.py --captions multi30k --glue glue --bert bert-tiny [--folder DIR]

The captions are train, val and test_2016_flickr, .de.gz and .en.gz; the reviews are GLUE's SST-2, beside RTE
and STS-B for the student of several tasks. It prints what the table of docs/deployment.md was put
together from. With --folder what is
there already is not made again. It needs pip and the network, and takes about half an hour on two CPU cores.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cmlm_kd
from cmlm_kd.api.translator import Decoding
from cmlm_kd.cli import main as main_of_cmlm_kd
from cmlm_kd.deployment.loaded import Loaded, LoadedClassifier
from cmlm_kd.models.loading import load_student
from cmlm_kd.system.text import read_lines

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "ctranslate2": ("ctranslate2", "tokenizers"),
    "onnx": ("onnxruntime", "tokenizers", "numpy"),
    "huggingface": ("transformers", "torch", "sentencepiece"),
}
"""Runtime -> what its environment has, in the versions that are installed here."""

# Runs in such an environment: the card's code up to the sentence once, the rest with each sentence.
RUNNER = """
import contextlib, importlib.util, io, json, sys
job = json.load(sys.stdin)
there = [name for name in ("cmlm_kd", "fairseq", *job["without"]) if importlib.util.find_spec(name)]
assert not there, f"{there} are installed here"
lines = job["code"].splitlines()
first = next(i for i, line in enumerate(lines) if job["example"] in line)
names = {}
exec("\\n".join(lines[:first]), names)
printed = []
for text in job["texts"]:
    said = io.StringIO()
    code = "\\n".join(lines[first:]).replace(job["example"], json.dumps(text, ensure_ascii=False))
    with contextlib.redirect_stdout(said):
        exec(code, names)
    printed.append(said.getvalue().rstrip("\\n"))
json.dump(printed, sys.stdout)
"""

SIZES = " ".join(
    f"--{side}-layers 2 --{side}-embed-dim 64 --{side}-ffn-embed-dim 128 --{side}-attention-heads 4"
    for side in ("encoder", "decoder")
)
TRANSLATOR = (
    "--task translation --criterion label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer adam "
    "--adam-betas (0.9,0.98) --clip-norm 1 --lr-scheduler inverse_sqrt --warmup-updates 60 --max-tokens 800"
)
CLASSIFIER = "--corpus SST-2 --criterion sentence_classification --max-length 64"


@dataclass(frozen=True)
class Student:
    """One student.

    Attributes:
        title: in the table.
        data: folder of its data, below that of the run or of GLUE.
        flags: of its training.
        targets: what it is exported to: target, and more flags of the export.
    """

    title: str
    data: str
    flags: str
    targets: Sequence[tuple[str, str]]

    @property
    def translates(self) -> bool:
        """Whether it is a translator."""
        return self.data == "data-bin"


INT8 = "--quantize int8"
STUDENTS = {
    "pre-norm": Student(
        "Transformer, pre-norm, tied, sine waves",
        "data-bin",
        f"--arch transformer {SIZES} --lr 3e-3 --share-decoder-input-output-embed "
        f"--encoder-normalize-before --decoder-normalize-before {TRANSLATOR}",
        (("ctranslate2", ""), ("ctranslate2", INT8), ("huggingface", ""), ("onnx", ""), ("onnx", INT8)),
    ),
    "post-norm": Student(
        "Transformer, post-norm, untied, learnt positions",
        "data-bin",
        f"--arch transformer {SIZES} --lr 3e-3 --encoder-learned-pos --decoder-learned-pos "
        f"--max-source-positions 256 --max-target-positions 256 {TRANSLATOR}",
        (("ctranslate2", ""), ("huggingface", ""), ("onnx", "")),
    ),
    "lstm": Student(
        "LSTM with attention",
        "data-bin",
        "--arch lstm --encoder-bidirectional --encoder-embed-dim 64 --encoder-hidden-size 64 "
        "--decoder-embed-dim 64 --decoder-hidden-size 64 --decoder-out-embed-dim 64 --lr 4e-3 "
        f"{TRANSLATOR}",
        (("onnx", ""), ("onnx", INT8)),
    ),
    "bert": Student(
        "`bert_classifier`, two layers",
        "SST-2",
        "--task classification_kd --arch bert_classifier --bert {bert} --layers 2 --optimizer bert_adamw "
        f"--lr 1e-4 --batch-size 16 {CLASSIFIER}",
        (("huggingface", ""), ("onnx", ""), ("onnx", INT8)),
    ),
    "bilstm": Student(
        "`bilstm_classifier`",
        "SST-2",
        "--task classification_kd --arch bilstm_classifier --hidden-size 64 --fc-size 64 "
        f"--optimizer adadelta --adadelta-rho 0.95 --lr 1.0 --batch-size 50 {CLASSIFIER}",
        (("onnx", ""), ("onnx", INT8)),
    ),
    "fastbert": Student(
        "FastBERT",
        "SST-2",
        "--task classification_kd --arch fastbert --bert {bert} --optimizer bert_adamw --lr 1e-4 "
        f"--batch-size 16 {CLASSIFIER}",
        (("onnx", ""),),
    ),
    "multitask": Student(
        "SST-2 of a `multitask_bert`",
        "",
        "--task multitask_kd --corpora SST-2,RTE,STS-B --arch multitask_bert --bert {bert} --optimizer "
        "bert_adamw --lr 1e-4 --batch-size 16 --criterion sentence_classification --max-length 128",
        (("huggingface", "--task SST-2"), ("onnx", "--task SST-2")),
    ),
}


def run(*words: object, **others: object) -> str:
    """Run a command of this environment; returns what it prints."""
    done = subprocess.run(
        list(map(str, words)),
        text=True,
        capture_output=True,
        check=False,
        **others,  # type: ignore[call-overload]
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))[:400]}\n{done.stdout[-1500:]}{done.stderr[-3000:]}")
    return str(done.stdout)


def tool(*words: object) -> str:
    """Run a command of cmlm-kd; returns what it prints."""
    return run(sys.executable, "-m", "cmlm_kd", *words)


def write_data(args: argparse.Namespace, folder: Path) -> None:
    """Write the data-bin of the captions, in the tokens of a tokenizer that is made of them."""
    texts = [args.captions / f"train.{language}.gz" for language in ("de", "en")]
    tool("train-tokenizer", "--vocab-size", args.pieces, "--input", *texts, "--output", folder / "tokenizer")
    names = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
    prefixes = [word for split in names for word in (f"--{split}pref", args.captions / names[split])]
    where = ("--destdir", folder / "data-bin")
    tool("prepare", "--teacher", folder / "tokenizer", "-s", "de", "-t", "en", *prefixes, *where)


def train(args: argparse.Namespace, folder: Path, name: str) -> None:
    """Train a student; its checkpoint is ``NAME/checkpoint_last.pt``."""
    student = STUDENTS[name]
    data = folder / student.data if student.translates else args.glue / student.data
    run(
        *(sys.executable, "-c", "from fairseq_cli.train import cli_main; cli_main()", data),
        *(word.format(bert=args.bert) for word in student.flags.split()),
        *("--user-dir", ROOT / "fairseq_plugins", "--save-dir", folder / name, "--no-epoch-checkpoints"),
        *("--max-update", args.updates, "--disable-validation", "--cpu"),
        *("--seed", 1, "--num-workers", 0, "--no-progress-bar", "--required-batch-size-multiple", 1),
    )


def export(folder: Path, name: str, target: str, flags: str) -> Path | str:
    """Return the directory of an export, or what was said where it was refused."""
    output = folder / "-".join([name, target, *flags.replace("--", "").split()[1:]])
    if not output.is_dir():
        student = STUDENTS[name]
        words = ["export", folder / name / "checkpoint_last.pt", "--to", target, "--output", output]
        words += ["--sentences", folder / ("few.de" if student.translates else "few.txt")]
        # The comparison here decides, and not that of the command.
        words += [*flags.split(), "--beam", 1, "--least-equal", 0]
        said = io.StringIO()
        with contextlib.redirect_stdout(sys.stderr), contextlib.redirect_stderr(said):
            if main_of_cmlm_kd([str(word) for word in words]):
                return said.getvalue().strip().splitlines()[-1]
    return output


def answers_of(place: Path, translates: bool, texts: list[str], beam: int, alone: bool) -> list[str]:
    """Return what a checkpoint or a directory answers through ``cmlm_kd.load``.

    ``alone`` gives it one text at a time, as the cards' code does: in int8, ONNX Runtime has one scale for
    all texts of a batch.
    """
    if place.parent.name == "multitask":  # a checkpoint of several tasks, one of which is asked
        model: Loaded = LoadedClassifier(load_student(place, task="SST-2"), "one task")
    else:
        model = cmlm_kd.load(place)
    answers: list[str] = []
    for part in [[text] for text in texts] if alone else [texts]:
        if translates:
            answers += model.translate(part, Decoding(beam=beam))
        else:
            answers += [str(one.label) for one in model.classify(part)]
    return answers


def environment(folder: Path, target: str) -> Path:
    """Return the interpreter of an environment that has a runtime alone."""
    place = folder / f"environment-{target}"
    if not (place / "made").is_file():
        print(f"installing: {', '.join(PACKAGES[target])}", file=sys.stderr, flush=True)
        venv.create(place, with_pip=True, clear=True)
        wanted = [f"{name}=={version(name).split('+')[0]}" for name in PACKAGES[target]]
        run(place / "bin" / "python", "-m", "pip", "install", "-q", "--no-compile", *wanted)
        (place / "made").touch()
    return place / "bin" / "python"


def answers_there(folder: Path, target: str, directory: Path, texts: list[str]) -> list[str]:
    """Return what the card's code prints in the runtime's environment."""
    code = (directory / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    job = {"code": code, "texts": texts, "without": [] if target == "huggingface" else ["torch"]}
    job["example"] = '"' + texts[0].replace("\\", "\\\\").replace('"', '\\"') + '"'
    python = environment(folder, target)
    clean = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    printed = json.loads(
        run(python, "-I", "-c", RUNNER, input=json.dumps(job), cwd=directory.parent, env=clean)
    )
    if target == "huggingface" and printed and printed[0].startswith("["):  # the card prints a list
        return [str(ast.literal_eval(line)[0]) for line in printed]
    return [str(line) for line in printed]


def compare(folder: Path, name: str, target: str, flags: str, texts: list[str]) -> str:
    """Return a row of the table."""
    student = STUDENTS[name]
    label = f"`{target}`" + (", int8" if INT8 in flags else "")
    directory = export(folder, name, target, flags)
    if isinstance(directory, str):
        return f"| {student.title} | {label} | refused: {directory} | |"
    # What the cards of ONNX search greedily, those of the others with five hypotheses.
    beam = 1 if target == "onnx" else 5
    there = answers_there(folder, target, directory, texts)
    found = []
    for place in (directory, folder / name / "checkpoint_last.pt"):
        here = answers_of(place, student.translates, texts, beam, alone=place == directory)
        found.append(str(sum(a == b for a, b in zip(there, here, strict=True))))
        others = [row for row in zip(texts, there, here, strict=True) if row[1] != row[2]]
        for text, a, b in others[:3]:
            print(f"{text}\n  there: {a}\n  {place}: {b}", file=sys.stderr)
    return f"| {student.title} | {label} | {' | '.join(found)} |"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captions", type=Path, required=True, metavar="DIR")
    parser.add_argument("--glue", type=Path, required=True, metavar="DIR", help="has SST-2, RTE and STS-B")
    parser.add_argument("--bert", type=Path, required=True, metavar="DIR", help="a small encoder")
    parser.add_argument("--folder", type=Path, help="of what is made; default: a temporary one")
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=list(STUDENTS))
    parser.add_argument("--targets", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--updates", type=int, default=200, help="of each training")
    parser.add_argument("--pieces", type=int, default=4000, help="of the captions' tokenizer")
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
        measure(args, args.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Make what is missing, and print the table."""
    if not (folder / "data-bin").is_dir():
        write_data(args, folder)
    captions = read_lines(args.captions / "test_2016_flickr.de.gz")[: args.sentences]
    rows = read_lines(args.glue / "SST-2" / "dev.tsv")[1 : args.sentences + 1]
    reviews = [row.split("\t")[0].strip() for row in rows]
    for name, texts in (("few.de", captions), ("few.txt", reviews)):
        (folder / name).write_text("".join(f"{text}\n" for text in texts[:20]), encoding="utf-8")
    print(f"Equal answers among {args.sentences}:\n")
    print("| student | target | `cmlm_kd.load` of the directory | the checkpoint |\n|---|---|---:|---:|")
    for name in args.students:
        if not (folder / name / "checkpoint_last.pt").is_file():
            print(f"training: {name}", file=sys.stderr, flush=True)
            train(args, folder, name)
        for target, flags in STUDENTS[name].targets:
            if target not in args.targets:
                continue
            texts = captions if STUDENTS[name].translates else reviews
            print(compare(folder, name, target, flags, texts), flush=True)


if __name__ == "__main__":
    main()
