#!/usr/bin/env bash
# Package:  subword-nmt 0.3.8
#
# Expected: BPE.process_line(line, dropout=0.1) draws a segmentation for training, and process_line(line), whose dropout is
#           0, gives the one that the codes say, whatever was asked of the object before: the argument belongs to the call.
# Happens:  each segmentation goes into the object's cache, a drawn one too, and a call without dropout takes what is there. A
#           word that was ever segmented with dropout has its last draw from then on, in place of its own segmentation;
#           words that were not have theirs. The draw replaces even an entry that was right before.
# Meaning:  a validation set or test set that is segmented by the object that segments the training set, on the fly or a file
#           after the other, has dropped merges, and others in each epoch and run: scores fall and move for no reason of the
#           model. The command, one process for one file, does not show it. Make an object for each purpose, or empty
#           its cache (bpe.cache.clear()) after every call with dropout.
#
# Output seen (the same line, without dropout, by one object):
#   before anything was drawn          lower newest widest
#   after dropout 0.5, seed 1          lo@@ wer ne@@ west w@@ i@@ d@@ e@@ s@@ t
#   after dropout 0.5, seed 2          lower n@@ e@@ we@@ st wi@@ d@@ e@@ st
#   after dropout 0.5, seed 3          l@@ o@@ w@@ e@@ r ne@@ we@@ s@@ t w@@ i@@ d@@ e@@ st
#   after bpe.cache.clear()            lower newest widest
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile subword-nmt==0.3.8

cat > segment.py <<'PYTHON'
import io
import random

from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

LINE = "lower newest widest"
codes = io.StringIO()
learn_bpe(io.StringIO(f"{LINE} lowest newer wider\n" * 20), codes, 15)
bpe = BPE(io.StringIO(codes.getvalue()))
plain = bpe.process_line(LINE)
print(f"{'before anything was drawn':<33}  {plain}")
found = []
for seed in (1, 2, 3):
    random.seed(seed)
    drawn = bpe.process_line(LINE, dropout=0.5)
    found.append(bpe.process_line(LINE))
    print(f"{f'after dropout 0.5, seed {seed}':<33}  {found[-1]}")
    assert found[-1] == drawn, "the cache does not keep draws any more"
bpe.cache.clear()
cleared = bpe.process_line(LINE)
print(f"{'after bpe.cache.clear()':<33}  {cleared}")
assert plain not in found and len(set(found)) == 3, "dropout leaves no traces any more"
assert cleared == plain
PYTHON
venv/bin/python segment.py 2> log || { tail -20 log; exit 1; }
