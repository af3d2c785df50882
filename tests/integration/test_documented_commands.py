"""Every command of the pages, word for word, on tiny data and for a few updates.

Folders have the names that the pages give them, the teacher among them. What is added makes models and
trainings small.
"""

import shutil
from pathlib import Path

import pytest
from documentation import PAGES, blocks, commands
from fairseq_runs import TINY_SIZES, TINY_STUDENT, run_generate, run_interactive, run_train
from tiny_corpus import has_teacher_row, write_split, write_store
from tiny_teacher import write_bert

from cmlm_kd.cli import main
from cmlm_kd.data.numbers import CorpusSizes, build_corpus
from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint
from cmlm_kd.fairseq_files.databin import Databin

ROAD = "docs/road.md"  # walked first: what it writes, the other pages start from
BRANCHES = (
    *("docs/data.md", "docs/teacher.md", "docs/deployment.md", "docs/criteria/cmlm.md", "docs/tracking.md"),
)
CLASSIFICATION = {  # pages about other models than the road's, and which test follows them
    "docs/augmentation.md": "test_bilstm_kd.py",
    "docs/autoregressive_teachers.md": "test_translators_as_teachers.py, test_folds.py and "
    "test_nearest_neighbours.py",
    "docs/classification.md": "test_classification_pages.py",
    "docs/criteria/bert_mlm.md": "test_pretraining_pages.py",
    "docs/criteria/bilstm_kd.md": "test_bilstm_kd.py",
    "docs/criteria/distilbert_kd.md": "test_pretraining_pages.py",
    "docs/criteria/fastbert_kd.md": "test_fastbert_kd.py",
    "docs/criteria/mobilebert_kd.md": "test_mobilebert_kd.py",
    "docs/criteria/mtdnn_kd.md": "test_mtdnn_recipe.py",
    "docs/criteria/pkd.md": "test_classification_pages.py",
    "docs/criteria/sentence_classification.md": "test_classification_pages.py",
    "docs/criteria/tinybert_kd.md": "test_tinybert_kd.py and test_pretraining_pages.py",
    "docs/early_exit.md": "test_early_exit_commands.py",
    "examples/classification/README.md": "test_classification_recipes.py and test_fastbert_recipe.py",
    "docs/masked_lm.md": "test_pretraining_pages.py",
    "examples/new_criterion/README.md": "test_new_criterion.py",
    "examples/language_model/README.md": "test_language_model_example.py",
}
ELSEWHERE = {
    "bash examples/translation/run.sh": "test_translation_recipes.py",
    "bash examples/pretraining/run.sh": "test_pretraining_recipe.py",
    "bash examples/pretraining/text.sh": "test_pretraining_corpus.py",
    "bash examples/translation/iwslt14.sh": "test_translation_recipes.py",
    "cmlm-kd dump data-bin --teacher teacher/checkpoint_best.pt --output soft-targets --shard": (
        "tests/unit/teachers/test_dump_shards.py"
    ),
    "cmlm-kd dump data-bin --teacher teacher/checkpoint_best.pt --output soft-targets --engine": (
        "test_ray_engine.py"
    ),
    "cmlm-kd merge": "tests/unit/teachers/test_dump_shards.py",
    "torchrun --nproc-per-node 8 --no-python cmlm-kd dump": "tests/unit/teachers/test_dump_shards.py",
    "cmlm-kd translate": "test_job.py and test_selection.py of tests/unit/translation, "
    "test_translate_fairseq.py",
    "cmlm-kd prepare --teacher bert-base-multilingual-cased -s de -t en --trainpref corpus/train,back": (
        "tests/unit/data/translation/test_synthetic.py"
    ),
    "cmlm-kd run": "test_machine_dry_run.py, and tests of the recipes",
    "cmlm-kd tune": "tests/unit/recipes/test_tuning.py",
    "cmlm-kd score --reference test.en --baseline alone --clusters": "test_several_runs.py",
    "cmlm-kd report --student": "test_report_page.py",
    "fairseq-generate runs/": "the recipes, on their test sets",
    "cmlm-kd score --from-generate --hypothesis distilled=valid.txt": "unit/evaluation/test_generation.py",
    "cmlm-kd score --from-generate --rouge": "test_titles.py, through titles.yaml",
    "cmlm-kd score --rouge --metrics chrf": "test_results_page.py, through write_results.py",
    "cut -d": "nothing of ours",
    "cmlm-kd report runs/": "test_report_page.py",
    "cmlm-kd exits fastbert-sst2": "test_early_exit_commands.py",
    "bash scripts/test.sh": "whoever runs this test",
    "python scripts/prepare_iwslt14.py": "test_translation_recipes.py, through iwslt14.yaml",
    "python benchmarks/": "test_benchmarks.py",
    "bash benchmarks/run.sh": "test_benchmarks.py, without the shell around it",
    "fairseq-hydra-train": "test_hydra.py",
    "fairseq-train DATA1:DATA2": "test_stores_of_several_training_sets, below",
    "pip install --no-deps ve-fairseq==0.12.3": "scripts/setup.sh",
    "cmlm-kd export student/checkpoint_best.pt": "test_export_translators.py",
    "cmlm-kd export runs/numbers-ensemble-transformer/distilled@1/": "test_export_translators.py",
    ". .venv/bin/activate": "scripts/setup.sh",
    "echo Zwei Männer hören Musik. | cmlm-kd translate": "test_export_translators.py",
    "cmlm-kd classify reviews.txt --model sst2-onnx": "test_export_classifiers.py",
    "cmlm-kd serve": "test_serving.py",
    "cmlm-kd measure": "tests/unit/deployment/test_measuring.py, and small_and_fast.yaml",
    "python scripts/fresh_environments.py": "whoever releases: it makes environments from the network",
    "curl": "test_serving.py",
    "pip install cmlm-kd[": "scripts/setup.sh, whose environment has all extras",
}
"""How commands begin that are not followed here, and what runs them instead."""

TEACHER = "bert-base-multilingual-cased"
UPDATES = 5  # one an epoch; the road averages the last five checkpoints
TRAINING = ("--max-update", UPDATES, "--cpu", "--no-progress-bar")
DECODING = ("--cpu", "--max-len-a", 0, "--max-len-b", 8)


def pages():
    return [str(page) for page in PAGES if page.name not in ("CONTRIBUTING.md", "CHANGELOG.md")]


def runs_elsewhere(words):
    return any(" ".join(words).startswith(beginning) for beginning in ELSEWHERE)


@pytest.mark.parametrize("page", pages())
def test_every_command_is_run_by_a_test(page):
    followed = page in (ROAD, *BRANCHES, *CLASSIFICATION)
    missing = [" ".join(words) for words in commands(page) if not (followed or runs_elsewhere(words))]
    assert not missing, f"no test runs what {page} prints: follow it here, or name what does in ELSEWHERE"


# From page to page


def value(words, flag):
    return Path(words[words.index(flag) + 1])


def train(words):
    """Train from scratch, as whoever types the command does."""
    shutil.rmtree(value(words, "--save-dir"), ignore_errors=True)
    assert "--max-update" in words, "this training never ends"
    run_train(*words[1:], *(() if "bert_cmlm" in words else TINY_SIZES), *TRAINING)
    last = read_checkpoint(value(words, "--save-dir") / "checkpoint_last.pt")
    assert number_of_updates(last) == UPDATES


def follow(words):
    """Run a command in the current folder."""
    if words[0] == "cmlm-kd":
        if words[1] == "dump":
            shutil.rmtree(value(words, "--output"), ignore_errors=True)
        assert main(words[1:]) == 0
    elif words[0] == "fairseq-train":
        train(words)
    elif words[0] == "fairseq-generate":
        words, output = (words[:-2], words[-1]) if ">" in words else (words, "output.txt")
        Path(output).write_text(run_generate(*words[1:], *DECODING), encoding="utf-8")
    elif words[0] == "fairseq-interactive":
        printed = run_interactive(value(words, "--input"), *words[1:], *DECODING)
        assert printed.count("\nD-") == len(value(words, "--input").read_text().splitlines())
    else:  # flags that are to be added to a student's training
        student = next(command for command in commands(ROAD) if "translation_kd" in command)  # the taught one
        assert words[0].startswith("--"), words
        train([*student, *words])


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A folder in which the road has been followed to its end."""
    root = tmp_path_factory.mktemp("road")
    corpus = build_corpus(1, CorpusSizes(pairs=40, valid=6, test=6, monolingual=1))
    (root / "corpus").mkdir()
    for split, pairs in corpus.parallel.items():
        for side, language in enumerate(("de", "en")):
            text = "".join(f"{pair[side]}\n" for pair in pairs)
            (root / "corpus" / f"{split}.{language}").write_text(text, encoding="utf-8")
    shutil.copy(root / "corpus" / "test.de", root / "new.de")
    write_bert(root / TEACHER, [text for pair in corpus.parallel["train"] for text in pair])
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        for words in commands(ROAD):
            if runs_elsewhere(words):
                continue
            follow(words)
    return root


@pytest.fixture
def here(road, tmp_path, monkeypatch):
    """A copy of that folder to work in."""
    monkeypatch.chdir(shutil.copytree(road, tmp_path / "copy"))


def test_the_road_leads_to_a_scored_student(road):
    written = {path.name for path in road.iterdir()}
    assert written >= {"data-bin", "teacher", "soft-targets", "student", "student.pt", "generated.txt"}


@pytest.mark.parametrize("page", BRANCHES)
def test_branches_of_the_road(here, page):
    for words in commands(page):
        if not runs_elsewhere(words):
            follow(words)


def test_pieces_in_python(here):
    (program,) = blocks("docs/data.md", "python")
    found = {}
    exec(program, found)
    assert found["pieces_to_text"](found["pieces"].symbols)


# The store


def test_a_store_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = write_split(tmp_path / "data", "train", 16, seed=1)
    store = write_store(tmp_path / "STORE", data, shard_rows=2)
    targets = Databin.open(data / "train.de-en.en")
    assert has_teacher_row(targets[0]) and has_teacher_row(targets[3])
    found = {}
    for program in blocks("docs/store.md", "python"):
        exec(program.replace("12345", "3"), found)
    assert found["table"].num_rows == 2 and found["store"].path == store
    assert found["sentence"]["ids"] == found["store"][0].ids.tolist()
    assert len(found["ids"]) == len(targets[3])


def test_stores_of_several_training_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("A", "B")):
        data = tmp_path / f"DATA{seed + 1}"
        for split in ("train", "train1", "valid"):
            write_split(data, split, 20, seed)
        write_store(tmp_path / name, data)
    *words, rest = next(words for words in commands("docs/store.md") if words[0] == "fairseq-train")
    assert words[:2] == ["fairseq-train", "DATA1:DATA2"] and rest == "..."
    run_train(
        *words[1:],
        *("--criterion", "soft_target_kd", "--kd-topk", 3, *TINY_STUDENT, "--max-tokens", 300),
        *("--max-epoch", 2, "--save-dir", "student"),
    )
    assert number_of_updates(read_checkpoint(Path("student") / "checkpoint_last.pt")) >= 2
