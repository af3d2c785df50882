"""Reading the output of fairseq-generate."""

import pytest

from cmlm_kd.cli import main
from cmlm_kd.errors import UserError
from cmlm_kd.evaluation.generation import read_hypotheses, read_speed

PREAMBLE = "2026-01-01 00:00:00 | INFO | fairseq_cli.generate | {'common': 1}\n"


@pytest.fixture
def output(tmp_path):
    def write(text):
        path = tmp_path / "generate-test.txt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_best_hypotheses_in_corpus_order(output):
    path = output(
        PREAMBLE
        + "S-1\tzwei\nT-1\ttwo\nH-1\t-0.5\ttwo .\nD-1\t-0.5\ttwo.\nP-1\t-0.1 -0.2\n"
        + "H-1\t-0.9\ttoo .\nD-1\t-0.9\ttoo.\n"
        + "S-0\teins\nT-0\tone\nH-0\t-inf\t\nD-0\t-inf\t\n"
    )
    assert read_hypotheses(path) == ["", "two."]


def test_h_lines_serve_where_there_is_no_d_line(output):
    assert read_hypotheses(output("H-0\t-0.1\tone\nH-1\t-0.1\ttwo\n")) == ["one", "two"]


def test_pieces_are_joined_and_bytes_become_characters(output):
    path = output("D-0\t-1\t▁Ein ▁Caf <0xC3> <0xA9> .\nD-1\t-1\t, ▁nein\nD-2\t-1\t▁a ⎽ b\n")
    assert read_hypotheses(path) == ["Ein Café.", ", nein", "a▁b"]
    joined = output("D-0\t-1\tEin Caf<0xC3><0xA9>.\nD-1\t-1\t, nein\nD-2\t-1\ta⎽b c▁d\n")
    assert read_hypotheses(joined) == ["Ein Café.", ", nein", "a▁b c▁d"]


def test_text_that_is_joined_already_keeps_its_spaces(output):
    path = output("D-0\t-1\tEin Caf<0xC3><0xA9>.\nD-1\t-1\ta ⎽ b\n")
    assert read_hypotheses(path) == ["Ein Café.", "a ▁ b"]


def test_gaps_and_foreign_files_are_refused(output):
    with pytest.raises(UserError, match=r"lacks 2 of 4 sentences \(0, 2\)"):
        read_hypotheses(output("D-1\t-1\ta\nD-3\t-1\tb\n"))
    with pytest.raises(UserError, match=r"lacks 1 of 2 sentences .*--required-batch-size-multiple 1"):
        read_hypotheses(output("D-0\t-1\ta\n"), sentences=2)
    with pytest.raises(UserError, match="has 2 sentences, 1 are expected"):
        read_hypotheses(output("D-0\t-1\ta\nD-1\t-1\tb\n"), sentences=1)
    with pytest.raises(UserError, match="no D- or H- line"):
        read_hypotheses(output("just text\n"))


def test_speed(output):
    line = "Translated 1,014 sentences (14,330 tokens) in 12.5s (81.12 sentences/s, 1146.40 tokens/s)\n"
    speed = read_speed(output(PREAMBLE + "2026 | INFO | " + line + "Generate test with beam=5: BLEU4 = 1\n"))
    assert (speed.sentences, speed.tokens) == (1014, 14330)
    assert (speed.sentences_per_second, speed.tokens_per_second) == (81.12, 1146.40)
    with pytest.raises(UserError, match="standard error"):
        read_speed(output(PREAMBLE))


def test_score_reads_fairseqs_output(output, tmp_path, capsys):
    generated = output("D-1\t-1\t▁zwei ▁Hunde ▁ruhen ▁hier\nD-0\t-1\t▁ein ▁Hund ▁rennt ▁dort\n")
    reference = tmp_path / "reference.txt"
    reference.write_text("ein Hund rennt dort\nzwei Hunde ruhen hier\n", encoding="utf-8")
    command = [
        "score",
        "--from-generate",
        "--hypothesis",
        f"student={generated}",
        "--reference",
        str(reference),
    ]
    assert main([*command, "--metrics", "bleu"]) == 0
    assert "| student | 100.00 |" in capsys.readouterr().out
    command.remove("--from-generate")
    assert main(command) == 2
    message = f"{generated} holds H- or D- lines, as fairseq-generate prints them; add --from-generate"
    assert capsys.readouterr().err == f"cmlm-kd score: {message}\n"
