#!/usr/bin/env bash
# Package:  faiss-cpu 1.15.1 (IndexHNSWFlat) with numpy 2.4.6
#
# Expected: an HNSW index finds nearly all nearest neighbours, and the more the higher efSearch is. Copies of one vector cost
#           room; at worst they fill the answer to a query that lies beside them.
# Happens:  a graph with many more copies of one vector than a node has links falls apart, if they lie among the others. Links
#           of the copies lead to copies, and a search that meets them ends there: queries that have nothing to do with
#           the vector get neighbours at a greater distance, though nearer ones are in the index. With a tenth of all
#           vectors at the origin nine queries of ten are answered wrongly; half of all at one of the vectors do as
#           much; far outside they do no harm. efSearch repairs little, and nothing is said.
# Meaning:  datastores of kNN-MT and kNN distillation, and memories of sentence embeddings, have copies by nature:
#           repeated lines, zeros for an empty line, the state before the first token. Add each vector once and
#           keep a list of its rows, or measure recall against IndexFlatL2 on your own vectors.
#
# Output seen (4,000 vectors of width 32, 32 links; nearest neighbours of 500 queries, drawn as the vectors were):
#   none                               efSearch 64: 100 % right   efSearch 1024: 100 % right
#   400 copies, at the origin          efSearch 64:   7 % right   efSearch 1024:  22 % right
#   2000 copies, at one of the others  efSearch 64:  24 % right   efSearch 1024:  41 % right
#   2000 copies, far outside           efSearch 64:  99 % right   efSearch 1024: 100 % right
#   400 copies, added once             efSearch 64: 100 % right   efSearch 1024: 100 % right
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check faiss-cpu==1.15.1 numpy==2.4.6

cat > copies.py <<'PYTHON'
import faiss
import numpy as np

faiss.omp_set_num_threads(1)
WIDTH, VECTORS = 32, 4000


def right(copies, where, once=False):
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((VECTORS, WIDTH)).astype("float32")
    queries = draw.standard_normal((500, WIDTH)).astype("float32")
    vectors[:copies] = where * vectors[0]
    vectors = vectors[draw.permutation(VECTORS)]
    exact = faiss.IndexFlatL2(WIDTH)
    exact.add(vectors)
    nearest = exact.search(queries, 1)[0]
    index = faiss.IndexHNSWFlat(WIDTH, 32)
    index.add(np.unique(vectors, axis=0) if once else vectors)
    shares = []
    for width in (64, 1024):
        index.hnsw.efSearch = width
        shares.append(float((index.search(queries, 1)[0] <= nearest * 1.0001).mean()))
    return shares


for name, low, high, case in (
    ("none", 0.95, 1, (0, 1)),
    ("400 copies, at the origin", 0, 0.5, (400, 0)),
    ("2000 copies, at one of the others", 0, 0.7, (2000, 1)),
    ("2000 copies, far outside", 0.95, 1, (2000, 2)),
    ("400 copies, added once", 0.95, 1, (400, 0, True)),
):
    shares = right(*case)
    few, many = (f"{share:4.0%}".replace("%", " %") for share in shares)
    print(f"{name:<34} efSearch 64: {few} right   efSearch 1024: {many} right")
    assert all(low <= share <= high for share in shares), "faiss has changed"
PYTHON
venv/bin/python copies.py
