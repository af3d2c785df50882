"""Size, quality and speed side by side: what is counted, and what is refused."""

from cmlm_kd.api.translator import Decoding
from cmlm_kd.cli import main
from cmlm_kd.deployment.loaded import Loaded, Translation
from cmlm_kd.deployment.measuring import disk_bytes, markdown, measure

SOURCES = [f"der satz nummer {i} ist ein satz" for i in range(8)]


class Repeating(Loaded):
    """Translates by repeating, without what it leaves out."""

    task = "translation"

    def __init__(self, name, order, without=""):
        super().__init__(name)
        self.order, self.without = order, without

    def translate_with_scores(self, texts, decoding=None, **settings):
        self.order.append(self.description)
        return [Translation(text.replace(self.without, ""), 0.0, True) for text in texts]


def test_models_translate_in_turn_and_are_compared_with_the_first(tmp_path):
    order = []
    models = {"large": Repeating("large", order), "small": Repeating("small", order, without="ist ein ")}
    for name in models:
        (tmp_path / name).write_bytes(b"x" * (3_000_000 if name == "large" else 500_000))
    # The starts of a round that does not count, then start and end of large, small, small, large.
    ticks = iter([0, 0, *(0, 4), *(4, 5), *(5, 7), *(7, 11)])
    found = measure(
        {name: (tmp_path / name, model) for name, model in models.items()},
        SOURCES,
        SOURCES,
        Decoding(beam=1),
        2,
        lambda: next(ticks),
    )
    assert order == ["small", "large", "large", "small", "small", "large"]
    assert found.seconds == {"large": [4, 4], "small": [1, 2]}
    assert found.rate("large") == 2 and found.times_as_fast("small") == (3.0, 2.0, 4.0)
    table = markdown(found)
    assert (
        "| large | 3.00 | 100.00 | 100.00 | 2 | 1.00 (1.00-1.00) |" in table and "| small | 0.50 | " in table
    )
    assert "times as fast as large" in table and "BLEU|nrefs:1" in table and "chrF2|nrefs:1" in table


def test_a_directory_counts_without_card_and_manifest(tmp_path):
    for name, size in (("model.bin", 7), ("pieces", 0), ("README.md", 100), ("export.json", 100)):
        (tmp_path / name).write_bytes(b"x" * size) if size else (tmp_path / name).mkdir()
    (tmp_path / "pieces" / "tokenizer.json").write_bytes(b"xxx")
    assert disk_bytes(tmp_path) == 10


def test_what_is_refused(tmp_path, capsys):
    for name, lines in (("a.de", 2), ("a.en", 1)):
        (tmp_path / name).write_text("eins\n" * lines)
    command = ["measure", "--model", "x", "--input", str(tmp_path / "a.de"), "--reference"]
    assert main([*command, str(tmp_path / "a.en")]) == 2
    assert "has 1 lines" in capsys.readouterr().err
    for flag in ("--rounds", "--threads", "--beam"):
        assert main([*command, str(tmp_path / "a.en"), flag, "0"]) == 2
        assert "is 0; it must be at least 1" in capsys.readouterr().err
