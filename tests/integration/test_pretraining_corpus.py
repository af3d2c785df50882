"""examples/pretraining/text.sh on the real corpora: the text of the published table."""

import hashlib
import subprocess

from documentation import REPOSITORY

SCRIPT = REPOSITORY / "examples" / "pretraining" / "text.sh"
PUBLISHED = {
    "train.txt": "77587f95f48998592ede72d7343ffe718cebaf5b582094128763af1346e8091d",
    "valid.txt": "b4626f19078157fa74ae5ba197ed2a70824b7220d7bf967dbfa6ebf62e3cd893",
}


def test_the_text_is_that_of_the_table(shared_dir, tmp_path):
    subprocess.run(["bash", SCRIPT, "--data", shared_dir / "data", "--output", tmp_path / "text"], check=True)
    written = {path.name: path.read_bytes() for path in (tmp_path / "text").iterdir()}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in written.items()} == PUBLISHED
    training, validation = (written[name].decode().splitlines() for name in ("train.txt", "valid.txt"))
    assert len(set(training)) == len(training) and not set(training) & set(validation)


def test_a_missing_corpus_ends_it(tmp_path):
    call = ["bash", SCRIPT, "--data", tmp_path, "--output", tmp_path / "text"]
    assert subprocess.run(call, capture_output=True, check=False).returncode != 0
    assert not (tmp_path / "text" / "train.txt").exists()
