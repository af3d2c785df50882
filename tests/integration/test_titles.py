"""examples/translation/titles.py and titles.yaml: titles of packages' descriptions."""

from itertools import product

import pytest
from documentation import REPOSITORY, load_script
from tiny_recipes import run_recipe

from cmlm_kd.fairseq_files.checkpoints import number_of_updates, read_checkpoint

EXAMPLES = REPOSITORY / "examples" / "translation"
SIZES = ("--titled", "3", "--valid", "1", "--test", "2", "--words", "15")
LONG = "reads files of the user and shows them in a window that can be moved"
titles = load_script("examples/translation/titles.py")


def stanza(name, title, text, source=None, section="utils"):
    """Return what apt's two lists say of a package."""
    line = f"Source: {source}\n" if source else ""
    known = f"Package: {name}\n{line}Description: {title}\nSection: {section}\n\n"
    return f"{known}Package: {name}\nDescription-md5: 0\nDescription-en: {title}\n {text}\n\n"


def many(count):
    """Return an index of so many packages, each with words of its own."""
    words = product("abcdefghij", repeat=3)
    named = ["".join(letters) for letters, _ in zip(words, range(count), strict=False)]
    return "".join(stanza(name, f"viewer of {name} files", f"{name} {LONG}.") for name in named)


def made(folder, text, *sizes):
    """Run the script on an index; returns its exit status."""
    (folder / "packages.txt").write_text(text)
    return titles.main([str(folder / "packages.txt"), str(folder / "corpus"), *(sizes or SIZES)])


def lines(folder, name):
    return (folder / "corpus" / name).read_text().splitlines()


def test_every_package_is_in_one_file(tmp_path, capsys):
    assert made(tmp_path, many(10)) == 0
    known = {name: lines(tmp_path, f"{name}.description") for name in ("train", "valid", "test", "untitled")}
    assert {name: len(part) for name, part in known.items()} == {
        "train": 3,
        "valid": 1,
        "test": 2,
        "untitled": 4,
    }
    assert len({text for part in known.values() for text in part}) == 10
    for split in ("train", "valid", "test"):
        for description, title in zip(known[split], lines(tmp_path, f"{split}.title"), strict=True):
            assert title == f"viewer of {description.split()[0]} files"
            assert description.split()[1:] == LONG.split()[:14]
    assert not (tmp_path / "corpus" / "untitled.title").exists()
    assert "10 cut after 15 words" in capsys.readouterr().out


def test_the_split_does_not_depend_on_the_order_of_the_index(tmp_path):
    text = many(10)
    made(tmp_path, text)
    before = lines(tmp_path, "test.title")
    made(tmp_path, "\n\n".join(reversed(text.strip().split("\n\n"))))
    assert lines(tmp_path, "test.title") == before


def kept(tmp_path, *stanzas):
    """Return the names of the packages that are taken of an index, and what was left out."""
    (tmp_path / "packages.txt").write_text("".join(stanzas))
    packages, left_out = titles.chosen(titles.read_packages(tmp_path / "packages.txt"))
    return {package.name for package in packages}, dict(left_out)


def test_one_package_of_each_source_named_as_it_is_or_short(tmp_path):
    found, left_out = kept(
        tmp_path,
        stanza("viewer-gtk", "viewer of files with a window", f"viewer {LONG}.", "viewer (2.1)"),
        stanza("viewer", "viewer of files with a window and more", f"this {LONG}."),
        stanza("libreader1", "reader of many files", f"reader {LONG}.", "reader"),
        stanza("reader-tools", "reader of very many files", f"tools {LONG}.", "reader"),
    )
    assert found == {"viewer", "libreader1"} and left_out == {"another package of the source": 2}


def test_two_versions_of_a_package_are_alike(tmp_path):
    found, left_out = kept(
        tmp_path,
        stanza("gcc-11", "GNU compiler, version 11", f"Version 11 {LONG}."),
        stanza("gcc-12", "GNU compiler, version 12 of it", f"Version 12 {LONG}."),
        stanza("tcc", "GNU compiler, version 3", f"Another {LONG}."),
    )
    assert len(found) == 1 and sum(left_out.values()) == 2
    assert set(left_out) <= {"the paragraph of another source", "the title of another source"}


@pytest.mark.parametrize(
    ("title", "text", "section", "fault"),
    [
        ("viewer of files - development files", LONG, "libdevel", "names a part of a package"),
        ("viewer of files (documentation)", LONG, "doc", "names a part of a package"),
        ("Transitional package of the viewer", LONG, "misc", "names a part of a package"),
        ("viewer of all files", LONG, "oldlibs", "a section of parts"),
        ("viewer of all files", LONG, "contrib/debug", "a section of parts"),
        ("viewer of all files", "It shows files.", "utils", "a paragraph of fewer than 12 words"),
        ("viewer of all files", f"It shows files.\n .\n It {LONG}.", "utils", "fewer than 12 words"),
        ("file viewer", LONG, "utils", "a title of fewer than 3 words"),
    ],
)
def test_what_has_no_title_of_its_own(tmp_path, title, text, section, fault):
    found, left_out = kept(tmp_path, stanza("viewer", title, text, section=section))
    assert not found and fault in next(iter(left_out))


def test_the_first_paragraph_is_the_description(tmp_path):
    (tmp_path / "packages.txt").write_text(
        stanza("viewer", "viewer of all files", f"It reads\n  many files.\n .\n {LONG}.")
    )
    (package,) = titles.read_packages(tmp_path / "packages.txt")
    assert package.paragraph == "It reads many files." and package.source == "viewer"


@pytest.mark.parametrize(
    ("text", "sizes", "message"),
    [
        ("", SIZES, "packages.txt has no packages: no line begins with 'Package:'; give apt's lists"),
        ("a text\nof another kind\n", SIZES, "has no packages"),
        (
            "Package: viewer\nDescription: viewer of all files\n",
            SIZES,
            "has 1 packages and no long description of any; append apt's list *_Translation-en",
        ),
        (
            many(6),
            SIZES,
            "has 6 packages with a title of their own, of 6; --test 2, --valid 1, --titled 3 need more than",
        ),
        (many(6), (*SIZES[:-1], "0"), "--words is 0; it must be a whole number above 0"),
    ],
)
def test_refused(tmp_path, capsys, text, sizes, message):
    assert made(tmp_path, text, *sizes) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.startswith("titles.py: ") and printed.err.count("\n") == 1
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("name", "content"), [("nowhere.txt", None), ("packages.lz4", b"\x04\x22\x4d\x18\xff")]
)
def test_refused_files(tmp_path, capsys, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert titles.main([str(tmp_path / name), str(tmp_path / "corpus"), *SIZES]) == 2
    assert name in capsys.readouterr().err


# After two updates a teacher's titles have no end yet.
SMALL = f"""
name: titles
output: unused
include: {EXAMPLES}/titles.yaml
steps:
  corpus:
    title: Take descriptions and titles
    inputs: ["{{{{ index }}}}"]
    run: >-
      python {EXAMPLES}/titles.py {{{{ index }}}} {{{{ run }}}}/corpus --titled {{{{ titled }}}}
      --valid {{{{ held_out }}}} --test {{{{ held_out }}}} --words {{{{ words }}}}
    outputs: [corpus]
  tokenizer:
    title: Train a small tokenizer
    inputs: [corpus]
    run: >-
      cmlm-kd train-tokenizer --vocab-size 40 --input {{{{ run }}}}/corpus/train.description
      {{{{ run }}}}/corpus/train.title --output {{{{ run }}}}/tokenizer
    outputs: [tokenizer]
  titles-of-the-teacher:
    title: Take the first words for titles
    inputs: [corpus, teacher-large/checkpoint_best.pt, teacher-lstm/checkpoint_best.pt]
    run:
      - cp {{{{ run }}}}/corpus/untitled.description {{{{ run }}}}/translated.description
      - cut -d ' ' -f 1-4 {{{{ run }}}}/translated.description > {{{{ run }}}}/translated.title
    outputs: [translated.description, translated.title]
"""


@pytest.mark.long
def test_the_recipe(tmp_path):
    (tmp_path / "packages.txt").write_text(many(60))
    (tmp_path / "small.yaml").write_text(SMALL)
    output = tmp_path / "run"
    settings = (f"index={tmp_path}/packages.txt", "titled=30", "held_out=6", "words=20")
    done = run_recipe(tmp_path / "small.yaml", output, *settings)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    table = (output / "scores.txt").read_text()
    for name in ("alone ", "translations ", "distilled ", "ROUGE-1", "ROUGE-L", "against 'alone'"):
        assert name in table
    assert (
        table in done.stdout and "kd:soft_target|k:32|T:1" in (output / "report" / "report.txt").read_text()
    )
    for name in ("teacher-large", "teacher-lstm", "alone@1", "translations@1", "distilled@1"):
        assert number_of_updates(read_checkpoint(output / name / "checkpoint_last.pt")) == 2
