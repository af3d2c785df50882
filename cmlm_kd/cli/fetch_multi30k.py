"""``cmlm-kd fetch-multi30k``: German-English image captions."""

import argparse
from pathlib import Path

HELP = "fetch Multi30k's German-English captions (non-commercial research), with checksums"
GOES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("destination", type=Path, help="directory for the six gzipped files")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help="copy them from here instead of downloading"
    )
    source.add_argument("--base-url", metavar="URL", help="download from a mirror of the public repository")


def run(arguments: argparse.Namespace) -> None:
    """Fetch what is not there yet."""
    from cmlm_kd.data.translation.multi30k import MULTI30K_SHA256, MULTI30K_URL, copy_checked, fetch

    if arguments.source is not None:
        files = copy_checked(arguments.source, arguments.destination, MULTI30K_SHA256)
    else:
        files = fetch(arguments.destination, MULTI30K_SHA256, arguments.base_url or MULTI30K_URL)
    print(f"{arguments.destination}: {', '.join(path.name for path in files)}")
