#!/usr/bin/env bash
# Package:  sil-thot 3.5.3
#
# Expected: add_sentence_pair(source, target, count=20), and a third file of counts for read_sentence_pairs, train as 20 copies
#           of the pair do: a corpus without its duplicates and with their counts gives the same aligner in less time.
# Happens:  the counts are kept, and get_sentence_pair gives them back, but start_training and train of no model look at
#           them (IBM 1 to 4, HMM, fast_align, eflomal): every pair counts once, without a word. start_incr_training and
#           incr_train, of the models that have them (IBM 1 and HMM were tried), do look: there, the count has its effect.
# Meaning:  weights by quality, by domain or by frequency change nothing, and lexical tables and shortlists from a corpus
#           without its duplicates are those of rare sentences as much as of frequent ones. Add a pair as often as it counts.
#
# Output seen (probability of y given a; four pairs, the last of which, a = y, is to count 20 times):
#                                  once   count=20       file  20 copies
#   Ibm1, train                   0.309      0.309      0.309      0.998
#   Ibm2, train                   0.136      0.136      0.136      1.000
#   Ibm3, train                   0.335      0.335      0.335      0.954
#   Ibm4, train                   0.334      0.334      0.334      0.915
#   Hmm, train                    0.297      0.297      0.297      0.957
#   FastAlign, train              0.286      0.286      0.286      0.900
#   Eflomal, train                0.333      0.333      0.333      0.913
#   IncrIbm1, incr_train          0.309      0.998      0.998      0.998
#   IncrHmm, incr_train           0.297      0.957      0.957      0.957
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-compile sil-thot==3.5.3

cat > align.py <<'PYTHON'
from pathlib import Path

from thot import alignment

PAIRS = [("a b", "x y", 1), ("a c", "x z", 1), ("b c", "z y", 1), ("a", "y", 20)]
for name, place in (("source", 0), ("target", 1), ("counts", 2)):
    Path(name).write_text("".join(f"{pair[place]}\n" for pair in PAIRS))


def once(model):
    for source, target, _ in PAIRS:
        model.add_sentence_pair(source.split(), target.split())


def counted(model):
    for source, target, count in PAIRS:
        model.add_sentence_pair(source.split(), target.split(), count)
    assert model.get_sentence_pair(3)[2] == 20


def from_files(model):
    model.read_sentence_pairs("source", "target", "counts")
    assert model.get_sentence_pair(3)[2] == 20


def copied(model):
    for source, target, count in PAIRS:
        for _ in range(count):
            model.add_sentence_pair(source.split(), target.split())


def probability(kind, add, incremental):
    model = getattr(alignment, f"{kind}AlignmentModel" if kind != "FastAlign" else "FastAlignModel")()
    add(model)
    for word in "abcxyz":  # IBM 3 and 4 want classes
        model.map_src_word_to_word_class(word, "1")
        model.map_trg_word_to_word_class(word, "1")
    pairs = (0, model.num_sentence_pairs - 1)
    model.start_incr_training(pairs) if incremental else model.start_training()
    for _ in range(5):
        model.incr_train(pairs) if incremental else model.train()
    model.end_incr_training() if incremental else model.end_training()
    return model.translation_prob(model.get_src_word_index("a"), model.get_trg_word_index("y"))


WAYS = {"once": once, "count=20": counted, "file": from_files, "20 copies": copied}
print(f"{'':<24}" + "".join(f"{way:>11}" for way in WAYS))
for kind in ("Ibm1", "Ibm2", "Ibm3", "Ibm4", "Hmm", "FastAlign", "Eflomal", "IncrIbm1", "IncrHmm"):
    incremental = kind.startswith("Incr")
    found = [probability(kind, add, incremental) for add in WAYS.values()]
    name = f"{kind}, incr_train" if incremental else f"{kind}, train"
    print(f"{name:<24}" + "".join(f"{one:>11.3f}" for one in found))
    ignored, heard = abs(found[1] - found[0]) < 1e-6, abs(found[1] - found[3]) < 0.01
    assert found[1] == found[2] and found[3] > found[0] + 0.3, kind
    assert (heard and not ignored) if incremental else (ignored and not heard), f"counts count now: {kind}"
PYTHON
venv/bin/python align.py
