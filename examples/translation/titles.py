"""Descriptions and titles of Debian's packages: a summarisation task of real text.

python examples/translation/titles.py INDEX OUTPUT --titled N --valid N --test N --words N

INDEX is apt's lists of packages and of their long descriptions, one after the other (titles.yaml says how it
is made). A description is the first paragraph of a package's long one, its title the package's synopsis. In
OUTPUT are {train,valid,test}.{description,title} and untitled.description, what is left without a title.

Packages of one source say the same with small changes, so one of each source is taken; none whose paragraph
or title another one has, numbers aside; and none whose title names a part of a package. So no source,
paragraph or title is in two of the files. The order, and with it the split, is that of a hash of the source's
name.
"""

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cmlm_kd.errors import UserError
from cmlm_kd.system.text import iterate_lines

FIELDS = ("Package", "Source", "Section", "Description", "Description-en")
FEWEST_WORDS = {"description": 12, "title": 3}
PARTS_OF_PACKAGES = ("debug", "introspection", "kernel", "localization", "metapackages", "oldlibs", "tasks")
"""Sections of packages that are parts of others, or empty: their titles say which."""
ROLE_AT_END = re.compile(r"(\s(-|--|–)\s.*|\([^()]*\))$")
"""As in "frobnicate files - development files" and "frobnicate files (documentation)"."""
ROLE = re.compile(
    r"transitional|dummy|meta-?package|development (files|headers)|documentation|"
    r"(shared|runtime) librar(y|ies)|(common|data|configuration) files|dictionary for \w*spell",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Package:
    """What the index says of a package: its title and the first paragraph of its long description."""

    name: str
    source: str
    section: str
    title: str
    paragraph: str


def stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the fields of each stanza, line ends in those of several lines; empty lines part stanzas."""
    fields: dict[str, str] = {}
    name = ""
    for line in lines:
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            if name in FIELDS:
                fields[name] += f"\n{line.strip()}"
        else:
            name, _, value = line.partition(":")
            if name in FIELDS:
                fields[name] = value.strip()
    if fields:
        yield fields


def read_packages(index: Path) -> list[Package]:
    """Return the packages of an index that have a long description, by name.

    Raises:
        UserError: it has no packages, or none with a long description.
    """
    known: dict[str, dict[str, str]] = {}
    for fields in stanzas(iterate_lines(index)):
        if "Package" in fields:
            own = known.setdefault(fields["Package"], {})
            own.update({name: text for name, text in fields.items() if text.count("\n") or name not in own})
    if not known:
        raise UserError(
            f"{index} has no packages: no line begins with 'Package:'; give apt's lists, *_Packages and "
            "*_Translation-en, one after the other"
        )
    packages = []
    for name, fields in sorted(known.items()):
        longest = max((fields.get(key, "") for key in ("Description-en", "Description")), key=len)
        title, _, text = longest.partition("\n")
        if text:
            paragraph = " ".join(re.split(r"\n\.(?:\n|$)", text)[0].split())
            source = fields.get("Source", name).partition(" ")[0]
            packages.append(
                Package(name, source, fields.get("Section", "").rpartition("/")[2], title, paragraph)
            )
    if not packages:
        raise UserError(
            f"{index} has {len(known)} packages and no long description of any; append apt's list "
            "*_Translation-en, which 'apt-get update -o Acquire::Languages=en' fetches"
        )
    return packages


def fault_of(package: Package) -> str | None:
    """Return why a package has no title of its own to learn from; None for one that has."""
    if package.section in PARTS_OF_PACKAGES:
        return "a section of parts of packages"
    if ROLE_AT_END.search(package.title) or ROLE.search(package.title):
        return "a title that names a part of a package"
    if len(package.paragraph.split()) < FEWEST_WORDS["description"]:
        return f"a paragraph of fewer than {FEWEST_WORDS['description']} words"
    if len(package.title.split()) < FEWEST_WORDS["title"]:
        return f"a title of fewer than {FEWEST_WORDS['title']} words"
    return None


def hashed(source: str) -> str:
    """Return what puts sources into an order that nothing else depends on."""
    return hashlib.sha256(source.encode()).hexdigest()


def without_numbers(text: str) -> str:
    """Return the words of a text, in which two versions of a package are alike."""
    return " ".join(re.findall(r"[^\W\d_]+", text.lower()))


def chosen(packages: Iterable[Package]) -> tuple[list[Package], Counter[str]]:
    """Return one package of each source in the order of the split, and how many were left out for what."""
    left_out: Counter[str] = Counter()
    of_source: dict[str, Package] = {}
    for package in packages:
        if fault := fault_of(package):
            left_out[fault] += 1
            continue
        other = of_source.get(package.source)
        if other is not None:
            left_out["another package of the source"] += 1
        # The one that the source is named after, or the one that says it shortest.
        if other is None or preference(package) < preference(other):
            of_source[package.source] = package
    seen: dict[str, set[str]] = {"paragraph": set(), "title": set()}
    kept = []
    for package in sorted(of_source.values(), key=lambda package: hashed(package.source)):
        keys = {side: without_numbers(getattr(package, side)) for side in seen}
        repeated = [side for side in seen if keys[side] in seen[side]]
        if repeated:
            left_out[f"the {repeated[0]} of another source"] += 1
            continue
        for side, key in keys.items():
            seen[side].add(key)
        kept.append(package)
    return kept, left_out


def preference(package: Package) -> tuple[bool, int, str]:
    """Return what is least for the package of a source that is taken."""
    return package.name != package.source, len(package.title), package.name


def write(index: Path, output: Path, sizes: dict[str, int], words: int) -> str:
    """Write the text; returns what was left out, a line each.

    Args:
        index: apt's lists.
        output: folder.
        sizes: packages of test, valid and train, in this order; of all others the titles are left out.
        words: of a description, of which the rest is cut off.

    Raises:
        UserError: the index has too few packages.
    """
    packages = read_packages(index)
    kept, left_out = chosen(packages)
    needed = sum(sizes.values())
    if len(kept) <= needed:
        asked = ", ".join(
            f"--{'titled' if split == 'train' else split} {size}" for split, size in sizes.items()
        )
        raise UserError(
            f"{index} has {len(kept)} packages with a title of their own, of {len(packages)}; {asked} need "
            f"more than {needed}; ask for fewer, or append the lists of another section or release"
        )
    output.mkdir(parents=True, exist_ok=True)
    cut = sum(len(package.paragraph.split()) > words for package in kept)
    first = 0
    for split, size in {**sizes, "untitled": len(kept) - needed}.items():
        part = kept[first : first + size]
        first += size
        descriptions = (" ".join(package.paragraph.split()[:words]) for package in part)
        write_lines(output / f"{split}.description", descriptions)
        if split != "untitled":
            write_lines(output / f"{split}.title", (package.title for package in part))
    counts = "".join(f"  {count:6} left out: {fault}\n" for fault, count in left_out.most_common())
    return (
        f"{len(packages)} packages with a long description\n{counts}"
        f"  {len(kept):6} kept: {', '.join(f'{size} {split}' for split, size in sizes.items())}, "
        f"{len(kept) - needed} without a title; {cut} cut after {words} words\n"
    )


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write text, a line each."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write the text and say what was left out; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("index", type=Path, help="apt's lists, one after the other")
    parser.add_argument("output", type=Path, help="folder to write")
    for name, about in (
        ("titled", "pairs to train on"),
        ("valid", "pairs for validation"),
        ("test", "pairs for testing"),
        ("words", "of a description, of which the rest is cut off"),
    ):
        parser.add_argument(f"--{name}", type=int, required=True, metavar="N", help=about)
    given = parser.parse_args(arguments)
    try:
        for name in ("titled", "valid", "test", "words"):
            if getattr(given, name) < 1:
                raise UserError(f"--{name} is {getattr(given, name)}; it must be a whole number above 0")
        sizes = {"test": given.test, "valid": given.valid, "train": given.titled}
        print(write(given.index, given.output, sizes, given.words), end="")
    except UserError as error:
        print(f"titles.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
