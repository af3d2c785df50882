#!/usr/bin/env bash
# Package:  ve-fairseq 0.12.3, fairseq/logging/progress_bar.py
#
# Expected: --log-file keeps a line of a training for each line that the training prints.
# Happens:  progress_bar() is called with the file for each epoch, and each time opens it once more and adds one more
#           handler to the same logger; none is ever removed. After n calls a line is written n times.
# Meaning:  with small corpora and many epochs the file grows with the square of the epochs (a line of epoch 500 is
#           there 500 times), open files grow with them until the system's limit ends the training, and whoever counts or averages
#           lines counts some often. Of equal numbers of updates take the last line, and remove former handlers.
#
# Output seen:
#   after 1 call:  a line is written 1 times, 1 open files
#   after 4 calls: a line is written 4 times, 4 open files
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps ve-fairseq==0.12.3

cat > log.py <<'PYTHON'
import glob
import logging
import os
import sys
import types

# The module alone, with stand-ins for the names of torch and NumPy that it uses: the package imports much else.
torch = types.ModuleType("torch")
torch.Tensor, torch.is_tensor = type("Tensor", (), {}), lambda value: False
numpy = types.ModuleType("numpy")
sys.modules.update(torch=torch, numpy=numpy)
package = types.ModuleType("alone")
package.__path__ = glob.glob("venv/lib/python3*/site-packages/fairseq/logging")
sys.modules["alone"] = package
from alone import progress_bar

logging.basicConfig(level=logging.INFO, stream=open(os.devnull, "w"))


def after(calls, file):
    """Return how often one line is in the file and how many descriptors lead to it."""
    for epoch in range(1, calls + 1):
        bar = progress_bar.progress_bar([], "simple", log_file=file, epoch=epoch)
    bar.print({"loss": "1.0"}, tag="train")
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    open_files = sum(os.path.exists(link) and os.path.samefile(link, file) for link in links)
    written = open(file).read().count("loss 1.0")
    for handler in list(progress_bar.logger.handlers):
        handler.close()
        progress_bar.logger.removeHandler(handler)
    return written, open_files


one, four = after(1, "one.log"), after(4, "four.log")
print("after 1 call:  a line is written %d times, %d open files" % one)
print("after 4 calls: a line is written %d times, %d open files" % four)
assert one == (1, 1) and four == (4, 4), "the behaviour has changed"
PYTHON
venv/bin/python log.py
