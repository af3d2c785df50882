"""``cmlm-kd prepare``: a fairseq data-bin in the teacher's tokens, out of raw parallel text."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmlm_kd.data.translation.manifest import SplitReport

HELP = "turn raw parallel text into a fairseq data-bin in the teacher's own tokens"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags; those that fairseq-preprocess has too keep their names."""
    parser.add_argument(
        "--teacher",
        required=True,
        help="Hugging Face directory or hub name of the BERT to be taught, or a directory that has its "
        "tokenizer alone",
    )
    parser.add_argument("--source-lang", "-s", required=True, help="suffix of the source files")
    parser.add_argument("--target-lang", "-t", required=True, help="suffix of the target files")
    for split in ("train", "valid", "test"):
        parser.add_argument(
            f"--{split}pref",
            required=split == "train",
            help=f"prefix of the {split} files (PREFIX.LANG or PREFIX.LANG.gz); several, after commas, "
            f"become {split}, {split}1, ...",
        )
    parser.add_argument("--destdir", type=Path, default=Path("data-bin"), help="directory to write")
    parser.add_argument(
        "--dictionaries",
        type=Path,
        metavar="DATA_BIN",
        help="take over the dictionaries of another data-bin in the same teacher's tokens, so that models of "
        "both read each other's text, instead of making them of the training text",
    )
    parser.add_argument("--joined-dictionary", action="store_true", help="one dictionary for both languages")
    parser.add_argument(
        "--truncate-source",
        action="store_true",
        help="cut sources that, with their target, exceed the teacher's positions (for summarisation)",
    )
    parser.add_argument("--drop-empty", action="store_true", help="leave out pairs with an empty side")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a destination that holds something else"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the data-bin and say what happened to each split."""
    from cmlm_kd.data.translation.manifest import PrepareOptions
    from cmlm_kd.data.translation.prepare import prepare

    splits = {}
    for split in ("train", "valid", "test"):
        prefixes = getattr(arguments, f"{split}pref")
        for i, prefix in enumerate(prefixes.split(",") if prefixes else []):
            splits[f"{split}{i or ''}"] = prefix
    options = PrepareOptions(
        arguments.teacher,
        arguments.source_lang,
        arguments.target_lang,
        splits,
        arguments.joined_dictionary,
        arguments.truncate_source,
        arguments.drop_empty,
        arguments.dictionaries,
    )
    manifest = prepare(options, arguments.destdir, overwrite=arguments.overwrite)
    sizes = ", ".join(f"{language} {entry.size:,}" for language, entry in manifest.dictionaries.items())
    print(f"{arguments.destdir}: dictionary entries {sizes}")
    for split, report in manifest.splits.items():
        side = manifest.synthetic.get(split)
        by = f"; synthetic {side.language} by {side.model}" if side else ""
        print(f"  {split}: {_describe(report)}{by}")


def _describe(report: SplitReport) -> str:
    parts = [f"{report.pairs:,} pairs"]
    for meaning, counts in (
        ("pieces", report.pieces),
        ("unknown", report.unknown),
        ("merged", report.merged),
    ):
        if any(counts.values()):
            parts.append(f"{meaning} " + " / ".join(f"{language} {n:,}" for language, n in counts.items()))
    for count, meaning in (
        (report.dropped_empty, "empty pairs dropped"),
        (report.truncated_sources, "sources truncated"),
        (
            report.too_long_for_teacher,
            "pairs too long for the teacher (kept; they will be trained on hard labels)",
        ),
    ):
        if count:
            parts.append(f"{count:,} {meaning}")
    return "; ".join(parts)
