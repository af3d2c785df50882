"""Translation students in other runtimes: the same translations, or nothing is left."""

import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from disk import largest_file, names
from fairseq_runs import TINY_STUDENT, run_train
from tiny_translation import pairs, write_student
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import cmlm_kd
from cmlm_kd.cli import main
from cmlm_kd.deployment import huggingface
from cmlm_kd.deployment.onnx_files import GraphSettings, write_graph
from cmlm_kd.deployment.shortlist import Shortlist
from cmlm_kd.errors import UserError
from cmlm_kd.fairseq_files.checkpoints import read_checkpoint

GERMAN, ENGLISH = zip(*pairs(), strict=True)
SENTENCES = list(GERMAN[:12])


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A Transformer that normalises inputs and ties its output layer."""
    return write_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="module")
def post_norm(student):
    """A Transformer that normalises outputs, with learnt positions and nothing tied."""
    root = student.parents[1]
    run_train(
        *(
            root / "data",
            *TINY_STUDENT,
            "--task",
            "translation",
            "--encoder-learned-pos",
            "--decoder-learned-pos",
        ),
        *("--criterion", "label_smoothed_cross_entropy", "--lr", 0.02, "--dropout", 0, "--seed", 1),
        *("--max-tokens", 600, "--max-update", 30, "--save-dir", root / "post", "--no-epoch-checkpoints"),
        *("--max-source-positions", 30, "--max-target-positions", 30, "--no-progress-bar"),
    )
    return root / "post" / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "some.de").write_text("".join(f"{line}\n" for line in SENTENCES))
    (folder / "some.en").write_text("".join(f"{line}\n" for line in ENGLISH[:12]))
    return folder


@pytest.fixture(scope="module")
def exported(student, texts, tmp_path_factory):
    """The student in CTranslate2's format."""
    return export(student, texts, tmp_path_factory.mktemp("out") / "toy-ct2", "--to", "ctranslate2")


def export(checkpoint, texts, output, *flags):
    command = ["export", checkpoint, "--output", output, "--sentences", texts / "some.de"]
    assert main([str(word) for word in (*command, "--references", texts / "some.en", *flags)]) == 0
    return output


def refused(capsys, *words):
    """Run an export that is refused; returns its one line of complaint."""
    assert main(["export", *map(str, words)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    return printed.err


def changed(checkpoint, tmp_path, **settings):
    """Write the checkpoint with other settings of its model; returns its path."""
    state = read_checkpoint(checkpoint)
    vars(state["cfg"]["model"]).update(settings)
    torch.save(state, tmp_path / "changed.pt")
    return tmp_path / "changed.pt"


def fairseq_says(checkpoint):
    return cmlm_kd.load(checkpoint).translate(SENTENCES)


def test_ctranslate2_translates_as_the_checkpoint(student, exported):
    record = json.loads((exported / "export.json").read_text())
    assert record["parity"]["equal"] == record["parity"]["equal_by_search"] == 12
    assert record["parity"]["largest_difference"] < 1e-5
    assert record["parity"]["bleu_before"] == record["parity"]["bleu_after"]
    assert record["languages"] == ["de", "en"] and record["quantization"] == "float32"
    assert record["versions"]["ctranslate2"] and "README.md" not in record["checksums"]
    assert cmlm_kd.load(exported).translate(SENTENCES) == fairseq_says(student)
    assert main(["verify", str(exported)]) == 0


def test_onnx_translates_as_the_checkpoint(student, texts, tmp_path):
    directory = export(student, texts, tmp_path / "toy-onnx", "--to", "onnx")
    parity = json.loads((directory / "export.json").read_text())["parity"]
    assert parity["equal"] == parity["equal_by_search"] == 12 and parity["bleu_p_value"] == 1.0
    assert cmlm_kd.load(directory).translate(SENTENCES) == fairseq_says(student)


@pytest.mark.parametrize("target", ["ctranslate2", "onnx"])
def test_int8_says_how_much_it_changes(target, student, texts, tmp_path, capsys):
    output = export(student, texts, tmp_path / "int8", "--to", target, "--quantize", "int8")
    printed = capsys.readouterr().out
    assert "of 12 (greedy)" in printed and " after, p = " in printed
    assert json.loads((output / "export.json").read_text())["quantization"] == "int8"
    assert cmlm_kd.load(output).translate(SENTENCES[:1])


def test_a_shortlist_is_what_the_search_chooses_from(student, exported, texts, tmp_path, capsys):
    output = export(student, texts, tmp_path / "short", "--to", "ctranslate2", "--shortlist", "4")
    printed = capsys.readouterr().out
    assert "shortlist: 4 frequent tokens and at most 4 translations of each source token" in printed
    record = json.loads((output / "export.json").read_text())
    assert record["shortlist"] == 4 and "vmap.txt" in record["checksums"]
    card = (output / "README.md").read_text()
    assert "use_vmap=True" in card and "shortlist: 4 frequent" in card
    assert "use_vmap" not in (exported / "README.md").read_text()
    narrow = shutil.copytree(exported, tmp_path / "narrow")
    (narrow / "export.json").unlink()
    tree = Shortlist(1, ["▁tree"], {}, 0)
    tree.write(narrow)
    (said,) = cmlm_kd.load(narrow).translate(SENTENCES[:1])
    assert set(said.replace("<s>", " ").split()) == {"tree"}  # which CTranslate2 leaves a model to say


def test_what_goes_with_one_target_alone(student, tmp_path, capsys):
    output = ("--output", tmp_path / "out")
    assert "--opset goes with --to onnx" in refused(capsys, student, *output, "--opset", 18)
    old = refused(capsys, student, *output, "--to", "onnx", "--opset", 9)
    assert "--opset is 9; it must be from 18 to 23" in old
    assert "--shortlist goes with --to ctranslate2" in refused(capsys, student, *output, "--shortlist")
    flags = ("--to", "ctranslate2", "--shortlist", 0)
    assert "--shortlist is 0; it must be at least 1" in refused(capsys, student, *output, *flags)


@pytest.mark.parametrize("kind", ["student", "post_norm"])
def test_plain_transformers_translates_as_the_checkpoint(kind, texts, tmp_path, request):
    checkpoint = request.getfixturevalue(kind)
    directory = export(checkpoint, texts, tmp_path / "toy-hf")
    model, tokenizer = (kind.from_pretrained(directory) for kind in (AutoModelForSeq2SeqLM, AutoTokenizer))
    batch = tokenizer(SENTENCES, return_tensors="pt", padding=True)
    found = tokenizer.batch_decode(model.generate(**batch, num_beams=5), skip_special_tokens=True)
    assert found == fairseq_says(checkpoint)
    assert cmlm_kd.load(directory).translate(SENTENCES) == found


def test_the_model_card_has_the_hubs_head_and_no_folder_of_this_computer(exported, student):
    card = (exported / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["language"] == ["de", "en"] and head["license"] is None
    assert head["pipeline_tag"] == "translation" and head["library_name"] == "ctranslate2"
    (result,) = head["model-index"][0]["results"]
    assert result["metrics"][0]["type"] == "bleu" and result["dataset"]["name"] == "some.de"
    assert str(student.parents[1]) not in card and "sacrebleu" not in card.lower().split("## citations")[1]
    assert "12 of 12 (greedy)" in card and "label_smoothed_cross_entropy" in card


def test_the_cards_code_runs_without_this_project(exported):
    code = (exported / "README.md").read_text().split("```python\n")[1].split("```")[0]
    program = "import sys\nsys.modules['cmlm_kd'] = sys.modules['torch'] = None\n" + code
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=exported.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == cmlm_kd.load(exported).translate(SENTENCES[:1])[0]


def test_the_command_runs_a_directory_without_fairseq(exported):
    program = (
        "import sys; sys.modules['fairseq'] = None\n"
        "from cmlm_kd.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "assert not [n for n in sys.modules if n.startswith(('fairseq.', 'fairseq_'))], 'fairseq'\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "translate",
            "--model",
            exported,
            "--input",
            "-",
            "--format",
            "jsonl",
        ],
        input=f"{SENTENCES[0]}\n\n{SENTENCES[1]}\n",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    expected = cmlm_kd.load(exported).translate(SENTENCES[:2])
    assert [row["translation"] for row in rows] == [expected[0], "", expected[1]]


def test_a_directory_that_translates_otherwise_is_not_left(student, texts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(huggingface, "positions", lambda student, side, rows: torch.zeros(rows, 16))
    complaint = refused(
        capsys, student, "--output", tmp_path / "out", "--sentences", texts / "some.de", "--beam", 1
    )
    assert (
        "translations are equal to the checkpoint's, at least 99% must be; nothing was written" in complaint
    )
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["ctranslate2", "huggingface"])
def test_a_full_disk_leaves_nothing(target, student, texts, tmp_path, capsys):
    flags = ("--to", target, "--output", tmp_path / "out", "--sentences", texts / "some.de")
    with largest_file(2000):
        complaint = refused(capsys, student, *flags)
    assert "make room" in complaint or "File too large" in complaint
    assert names(tmp_path) == []


def test_a_full_disk_is_no_fault_of_the_model_in_onnx(tmp_path, monkeypatch):
    def full(*arguments, **settings):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "encoder.onnx")

    monkeypatch.setattr(torch.onnx, "export", full)
    with pytest.raises(OSError, match="No space left"):
        write_graph(
            torch.nn.Linear(2, 2),
            {"input": torch.zeros(3, 2)},
            ("y",),
            {},
            tmp_path / "a.onnx",
            GraphSettings(),
        )


def test_a_directory_that_was_changed_is_not_loaded(student, texts, tmp_path):
    directory = export(student, texts, tmp_path / "out", "--to", "ctranslate2", "--beam", "1")
    with (directory / "README.md").open("a") as card:
        card.write("A line of its owner.\n")
    cmlm_kd.load(directory)
    path = directory / "target_vocabulary.json"
    path.write_text(path.read_text().replace("the", "teh"))
    with pytest.raises(UserError, match=r"target_vocabulary\.json is damaged .* export the checkpoint again"):
        cmlm_kd.load(directory)


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        ("huggingface", {"layernorm_embedding": True}, "export it to ctranslate2, or decode"),
        ("onnx", {"layernorm_embedding": True}, "export it to ctranslate2, or decode"),
        ("onnx", {"layernorm_embedding": True, "adaptive_input": True}, "cannot hold; decode it with"),
        (
            "huggingface",
            {"encoder_normalize_before": False},
            "--encoder-normalize-before False beside --decoder",
        ),
        ("huggingface", {"activation_fn": "swish"}, "--activation-fn swish"),
        (
            "ctranslate2",
            {"encoder_normalize_before": False},
            "--encoder-normalize-before False beside --decoder",
        ),
        (
            "ctranslate2",
            {"no_token_positional_embeddings": True},
            "; export it to onnx or huggingface, decode",
        ),
    ],
)
def test_what_a_target_cannot_hold_is_named(
    student, tmp_path, capsys, monkeypatch, target, settings, message
):
    import cmlm_kd.deployment.translator as translator

    original = cmlm_kd.load(student).translator
    monkeypatch.setattr(translator, "load_translator", lambda *arguments: original)
    checkpoint = changed(student, tmp_path, **settings)
    original.paths = (str(checkpoint),)
    complaint = refused(capsys, checkpoint, "--to", target, "--output", tmp_path / "out")
    assert message in complaint and "fairseq-generate" in complaint
    assert names(tmp_path) == ["changed.pt"]


def test_flags_that_do_not_go_together(student, texts, tmp_path, capsys):
    output = ("--output", tmp_path / "out")
    assert "--quantize int8 goes with" in refused(capsys, student, *output, "--quantize", "int8")
    assert "--least-equal is 2.0" in refused(capsys, student, *output, "--least-equal", 2)
    assert "--task means nothing" in refused(capsys, student, *output, "--task", "RTE")
    short = texts / "short.en"
    short.write_text("one\n")
    flags = ("--sentences", texts / "some.de", "--references", short)
    assert "short.en has 1 lines" in refused(capsys, student, *output, *flags)
    with pytest.raises(SystemExit):
        main(["export", str(student), "--to", "tensorrt", *map(str, output)])
    assert "invalid choice: 'tensorrt'" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    assert "is not empty" in refused(capsys, student, *output)


def test_a_text_that_is_too_long_is_refused_or_split_never_cut(post_norm, texts, tmp_path):
    directory = export(post_norm, texts, tmp_path / "out", "--to", "ctranslate2", "--beam", "1")
    model = cmlm_kd.load(directory)
    long = " ".join(f"{sentence} ." for sentence in SENTENCES[:6])
    with pytest.raises(UserError, match="text 2 is longer than the 29 tokens that the model reads"):
        model.translate(["der hund", long])
    (found,) = model.translate([long], long_texts="split")
    assert found == " ".join(model.translate([f"{sentence} ." for sentence in SENTENCES[:6]]))
    with pytest.raises(UserError, match="has a sentence, number 1, that is longer than the 29 tokens"):
        model.translate([long.replace(" .", "")], long_texts="split")
    assert model.translate(["", "  "]) == ["", ""]
    with pytest.raises(UserError, match="does not classify: it is a model for translation"):
        model.classify(["x"])
    with pytest.raises(UserError, match="one string"):
        model.translate("x")
    with pytest.raises(UserError, match=r"text 2: character 1 is U\+DC80, half of a surrogate pair"):
        model.translate(["der hund", "\udc80"])
