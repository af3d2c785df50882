#!/usr/bin/env bash
# Package:  pysbd 0.3.4
#
# Expected: with clean=False a segmenter of sentences only cuts: its pieces, put together, are the text. On ordinary prose they
#           are: 900 paragraphs of Python's own help (pydoc_data.topics) come back whole.
# Happens:  while it works, pysbd writes signs of its own in the place of punctuation, and turns them back at the end: ♭ to a
#           colon, ♬ to an Arabic comma, ♨ and ∯ to a full stop. A text that has such a sign is changed, too; then each
#           sentence is looked for in the text, and one that is not found is left out, without a word. The language makes
#           no difference (en, de, fr and ja were tried).
# Meaning:  subtitles (♬ around what is sung), music (B♭), travel (♨) lose just these sentences, and a corpus that is split
#           on both sides loses them where one side has the sign. Compare "".join(pieces) with the text, and keep
#           the text whole where they differ.
#
# Output seen (pieces of the text):
#   The sonata is in B flat major. It was never printed.
#       ['The sonata is in B flat major. ', 'It was never printed.']
#   The sonata is in B♭ major. It was never printed.
#       ['It was never printed.']
#   ♬ Row, row the boat ♬ they sang. Then it rained.
#       ['Then it rained.']
#   The ♨ is behind the inn. It opens at nine.
#       ['It opens at nine.']
#   He plays in the key of B♭.
#       []
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile pysbd==0.3.4

cat > split.py <<'PYTHON'
import pysbd

SIGNS = "♭♬♨"
for text in (
    "The sonata is in B flat major. It was never printed.",
    "The sonata is in B♭ major. It was never printed.",
    "♬ Row, row the boat ♬ they sang. Then it rained.",
    "The ♨ is behind the inn. It opens at nine.",
    "He plays in the key of B♭.",
):
    found = {tuple(pysbd.Segmenter(language=language, clean=False).segment(text)) for language in ("en", "de", "fr", "ja")}
    assert len(found) == 1
    pieces = list(found.pop())
    print(f"{text}\n    {pieces}")
    whole = "".join(pieces) == text
    assert whole != any(sign in text for sign in SIGNS), "pysbd has changed"
PYTHON
venv/bin/python -W ignore split.py
