"""``cmlm-kd doctor``: a check of this environment for known traps."""

import argparse
import sys

HELP = (
    "check this environment for known traps, with a remedy for each; exit status 1 when something is broken"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--quiet", action="store_true", help="print only what is broken")


def run(arguments: argparse.Namespace) -> None:
    """Print one line a check, as it ends."""
    from cmlm_kd.system.doctor import CHECKS

    is_broken = False
    for check in CHECKS:
        finding = check()
        is_broken |= finding.status == "broken"
        if arguments.quiet and finding.status != "broken":
            continue
        remedy = f"; remedy: {finding.remedy}" if finding.remedy else ""
        stream = sys.stderr if arguments.quiet else sys.stdout
        print(f"{finding.status:7} {finding.name}: {finding.detail}{remedy}", file=stream, flush=True)
    if is_broken:
        sys.exit(1)
