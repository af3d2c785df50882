"""What arrives in TensorBoard: of every criterion the names in the table of docs/tracking.md, no others.

The files are tensorboardX's, written by fairseq and read here as they lie on disk.
"""

import re
import struct

import pytest
from documentation import REPOSITORY
from fairseq.logging import progress_bar
from fairseq_runs import TINY_STUDENT, run_train
from tensorboardX.proto.event_pb2 import Event
from tiny_classification import classification, write_bert, write_sst2
from tiny_corpus import write_split, write_store
from tiny_prepare import run as prepare
from tiny_prepare import write_corpus
from tiny_teacher import write_bert as write_cased_bert
from tiny_text import pretraining, write_masked_lm, write_text
from tiny_tokenizers import training_lines

from cmlm_kd.api.registry import kd_criteria
from cmlm_kd.cli import main
from cmlm_kd.criteria import load_criteria

PAGE = (REPOSITORY / "docs" / "tracking.md").read_text(encoding="utf-8")
SIZES = ("--layers", 2, "--hidden-size", 16, "--heads", 2, "--ffn-size", 12, "--positions", 40)
MOBILE = (*SIZES, "--embedding-size", 8)
BRANCHES = ("--arch", "fastbert", "--branch-size", 8)


def words_in(text):
    return set(re.findall(r"`([\w-]+)`", text))


TABLE = PAGE.partition("\n## The names\n")[2]
ROWS = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|$", TABLE, re.MULTILINE)
ALWAYS, ALWAYS_IN_VALIDATION, NOW_AND_THEN = (
    words_in(re.search(rf"^\*\*{part}\.\*\* (.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)[1])
    for part in ("In training", "In validation", "Now and then")
)


def events(folder):
    """Return name -> [(update, value)] of all numbers in a folder of event files."""
    found = {}
    for path in folder.glob("events*"):
        data, place = path.read_bytes(), 0
        while place < len(data):  # its length, a checksum of that, the event, a checksum
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += length + 16
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def tracked(folder, *flags):
    """Train with ``--tensorboard-logdir``; returns part of the run -> what :func:`events` found."""
    writers = progress_bar._tensorboard_writers  # one a process: a second run would go on in them
    writers.clear()
    run_train(*flags, "--tensorboard-logdir", folder, "--log-interval", 1, "--dropout", 0)
    for writer in writers.values():
        writer.close()
    writers.clear()
    return {part.name: events(part) for part in folder.iterdir()}


def translating(root, criterion, *more):
    return (
        *(root / "pairs", "--task", "translation_kd", "--criterion", criterion, *TINY_STUDENT),
        *("--max-tokens", 200, "--save-dir", root / criterion, "--no-epoch-checkpoints", "--no-progress-bar"),
        *("--kd-topk", 3, "--max-update", 2, *more),
    )


def classifying(root, criterion, *more, bert="teacher"):
    save_dir = root / criterion
    return classification(root / "SST-2", save_dir, *more, bert=root / bert, criterion=criterion)


def masking(root, criterion, *more, **kinds):
    return pretraining(
        root / "text", root / criterion, "--tokenized", root / "tokens", *more, criterion=criterion, **kinds
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Criterion -> what a training with it tracked; some go on from one before them."""
    root = tmp_path_factory.mktemp("tracking")
    for seed, split in enumerate(("train", "valid")):
        write_split(root / "pairs", split, 20, seed)
    store = ("--soft-targets", write_store(root / "store", root / "pairs"))
    found = {}

    def track(flags):
        flags = [*flags]
        name = str(flags[len(flags) - flags[::-1].index("--criterion")])
        found[name] = tracked(root / f"tracked-{name}", *flags)

    track(translating(root, "soft_target_kd", "--kd-report-kl", *store))
    track(translating(root, "selective_kd", *store))
    teacher = root / "soft_target_kd" / "checkpoint_last.pt"
    track(translating(root, "hidden_state_kd", "--online-teacher", teacher))
    track(translating(root, "tie_kd", "--online-teacher", teacher))
    write_cased_bert(root / "bert", training_lines(), max_positions=40)
    cmlm = ("--task", "cmlm", "--criterion", "cmlm", "--arch", "bert_cmlm", "--optimizer", "bert_adamw")
    data = prepare(write_corpus(root), root / "bert")
    track((data, *cmlm, "--max-tokens", 200, "--max-update", 2, "--cpu", "--no-save"))

    write_sst2(root / "SST-2", train=16, dev=8)
    write_bert(root / "teacher")
    given = ("--teacher", root / "teacher", "--no-save")
    track(classifying(root, "sentence_classification", *BRANCHES))
    start = root / "sentence_classification" / "checkpoint_last.pt"
    track(classifying(root, "fastbert_kd", *BRANCHES, "--finetune-from-model", start, "--no-save"))
    track(classifying(root, "pkd", "--layers", 2, *given))
    track(classifying(root, "tinybert_kd", "--layers", 2, *given))
    track(classifying(root, "mtdnn_kd", *given))
    bilstm = [*classifying(root, "bilstm_kd", "--hidden-size", 6, "--fc-size", 8, *given)]
    bilstm[bilstm.index("--bert") : bilstm.index("--bert") + 2] = []
    bilstm[bilstm.index("bert_classifier")] = "bilstm_classifier"
    track(bilstm)

    write_text(root / "text", rows=20)
    write_masked_lm(root / "speaker")
    speaker = ("--teacher", root / "speaker", "--no-save")
    track(masking(root, "distilbert_kd", "--init-layers", "0,2", *speaker))
    ib = ("--bert-tokenizer", root / "speaker", *MOBILE, "--bottleneck-size", 24)
    track(masking(root, "bert_mlm", *ib, arch="ib_bert"))
    checkpoint, exported = root / "bert_mlm" / "checkpoint_last.pt", root / "ib"
    assert main(["export", str(checkpoint), "--output", str(exported)]) == 0
    mobile = ("--teacher", exported, "--no-save", *MOBILE, "--bottleneck-size", 8)
    mobile = (*mobile, "--feed-forward-networks", 2)
    stages = ("--kd-transfer-updates", 2, "--max-update", 3)  # layer by layer, then predictions
    track(masking(root, "mobilebert_kd", *mobile, *stages, arch="mobilebert"))
    return found


@pytest.mark.parametrize(("criterion", "training", "validation"), ROWS, ids=[row[0] for row in ROWS])
def test_the_names_are_those_of_the_page(runs, criterion, training, validation):
    run = runs[criterion]
    assert set(run) == {"train_inner", "train", "valid"}
    assert set(run["train_inner"]) - ALWAYS - NOW_AND_THEN == words_in(training)
    assert set(run["valid"]) - ALWAYS_IN_VALIDATION - NOW_AND_THEN == words_in(validation)
    assert set(run["train"]) == set(run["train_inner"])
    assert set(run["train_inner"]) >= ALWAYS and set(run["valid"]) >= ALWAYS_IN_VALIDATION
    updates = [update for update, _ in run["train_inner"]["loss"]]
    assert updates == [*range(1, updates[-1] + 1)] and updates[-1] >= 2


def test_the_page_has_every_criterion(runs):
    load_criteria()
    ours = {name for name in kd_criteria if kd_criteria.get(name).cls.__module__.startswith("cmlm_kd.")}
    assert {name for name, *_ in ROWS} == {*ours, "cmlm"} == set(runs)
