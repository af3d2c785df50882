"""Turn the de-en.tgz of IWSLT14 into raw text, see cmlm_kd.data.translation.iwslt14."""

import argparse
import sys
from pathlib import Path

from cmlm_kd.data.translation.iwslt14 import prepare_iwslt14
from cmlm_kd.errors import UserError, one_line

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("archive", type=Path, help="the campaign's de-en.tgz")
parser.add_argument("destination", type=Path, help="directory to write {train,valid,test}.{de,en} to")
parser.add_argument(
    "--lowercase", action="store_true", help="lower-case all text, as the published numbers do"
)
arguments = parser.parse_args()
try:
    pairs = prepare_iwslt14(arguments.archive, arguments.destination, lowercase=arguments.lowercase)
except UserError as error:
    sys.exit(f"prepare_iwslt14.py: {one_line(str(error))}")
print(f"{arguments.destination}: " + ", ".join(f"{split} {count:,} pairs" for split, count in pairs.items()))
