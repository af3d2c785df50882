"""The fetcher, against a server on the loopback interface."""

import contextlib
import hashlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cmlm_kd.cli import main
from cmlm_kd.data.translation import multi30k as fetch_module
from cmlm_kd.data.translation.multi30k import MULTI30K_SHA256, copy_checked, fetch
from cmlm_kd.errors import UserError
from cmlm_kd.system.files import written_aside

CONTENT = {"train.de.gz": bytes(range(256)) * 2000, "train.en.gz": b"caption" * 3000}
CHECKSUMS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


class Files(BaseHTTPRequestHandler):
    """Serves CONTENT, whole or from an offset; can break off and can ignore offsets."""

    def do_GET(self):
        server = self.server
        name = self.path.rsplit("/", 1)[-1]
        requested = self.headers.get("Range")
        server.requests.append((name, requested))
        if name not in server.content:
            self.send_error(404)
            return
        content = server.content[name]
        offset = int(requested.removeprefix("bytes=").rstrip("-")) if requested and server.ranges else 0
        if offset and offset >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if offset else 200)
        self.send_header("Content-Length", str(len(content) - offset))
        self.end_headers()
        end = server.break_after or len(content)
        self.wfile.write(content[offset:end])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.content, server.requests, server.ranges, server.break_after = dict(CONTENT), [], True, None
    server.url = f"http://127.0.0.1:{server.server_port}/data/task1/raw"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_fetch_and_skip_what_is_there(server, tmp_path):
    destination = tmp_path / "deep" / "multi30k"
    assert fetch(destination, CHECKSUMS, server.url + "/") == [destination / name for name in CONTENT]
    assert contents(destination) == CONTENT
    assert len(server.requests) == 2
    fetch(destination, CHECKSUMS, server.url)
    assert len(server.requests) == 2, "nothing is fetched twice"
    (destination / "train.en.gz").write_bytes(b"damaged")
    fetch(destination, CHECKSUMS, server.url)
    assert server.requests[2:] == [("train.en.gz", None)]
    assert contents(destination) == CONTENT


@pytest.mark.parametrize("ranges", [True, False], ids=["server resumes", "server starts again"])
def test_broken_download_goes_on(server, tmp_path, ranges):
    server.break_after = 300_000
    with pytest.raises(UserError, match=r"broke after 300000 of 512000 bytes; run again"):
        fetch(tmp_path, CHECKSUMS, server.url)
    assert not (tmp_path / "train.de.gz").exists()
    server.break_after, server.ranges = None, ranges
    fetch(tmp_path, CHECKSUMS, server.url)
    assert ("train.de.gz", "bytes=300000-") in server.requests
    assert contents(tmp_path) == CONTENT


def test_complete_partial_file_is_taken(server, tmp_path):
    (tmp_path / ".train.de.gz.partial").write_bytes(CONTENT["train.de.gz"])
    fetch(tmp_path, CHECKSUMS, server.url)
    assert contents(tmp_path) == CONTENT


def test_wrong_checksum_is_refused_and_nothing_kept(server, tmp_path):
    server.content["train.en.gz"] = b"something else"
    with pytest.raises(UserError, match=f"expected is {CHECKSUMS['train.en.gz']}; the file was not kept"):
        fetch(tmp_path, CHECKSUMS, server.url)
    assert contents(tmp_path) == {"train.de.gz": CONTENT["train.de.gz"]}


def test_unreachable_server_and_missing_file(server, tmp_path):
    del server.content["train.de.gz"]
    with pytest.raises(UserError, match="404"):
        fetch(tmp_path, CHECKSUMS, server.url)
    with pytest.raises(UserError, match=r"cannot be fetched.*--from"):
        fetch(tmp_path, CHECKSUMS, "http://127.0.0.1:9/nowhere")
    with pytest.raises(UserError, match="cannot be fetched"):
        fetch(tmp_path, CHECKSUMS, "no address")
    assert contents(tmp_path) == {}


def answering(*chunks):
    """Listen for one connection and answer it with bytes, each a moment after the other; returns the URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        with listener, listener.accept()[0] as connection, contextlib.suppress(OSError):
            connection.recv(4096)
            for chunk in chunks:
                connection.sendall(chunk)
                time.sleep(0.05)

    threading.Thread(target=answer, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("nonsense", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n" + b"A" * 70_000])
def test_a_server_that_answers_nonsense(tmp_path, nonsense):
    with pytest.raises(
        UserError, match=r"/train\.de\.gz cannot be fetched: .*; run again to go on"
    ) as caught:
        fetch(tmp_path / "made" / "here", CHECKSUMS, answering(nonsense))
    assert "\n" not in str(caught.value) and contents(tmp_path) == {}


def test_a_server_that_drips(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "_LONGEST_SECONDS", 0.2)
    content = CONTENT["train.de.gz"]
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    with pytest.raises(
        UserError, match=r"cannot be fetched: \d+ of \d+ bytes came in 0\.2 seconds; run again"
    ):
        fetch(tmp_path, CHECKSUMS, answering(head, *(content[i : i + 1] for i in range(100))))
    kept = contents(tmp_path)[".train.de.gz.partial"]
    assert 0 < len(kept) < 100 and content.startswith(kept)


def test_a_server_that_drips_headers(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "_LONGEST_SECONDS", 0.2)
    headers = (f"X-{number}: 1\r\n".encode() for number in range(90))
    with pytest.raises(UserError, match=r"cannot be fetched: no answer came in 0\.2 seconds; run again"):
        fetch(tmp_path, CHECKSUMS, answering(b"HTTP/1.1 200 OK\r\n", *headers))
    assert contents(tmp_path) == {}


def test_two_downloads_of_the_same_file(tmp_path, server):
    with written_aside(tmp_path / "train.de.gz") as partial:
        partial.write_bytes(b"another process is at work")
        with pytest.raises(UserError, match="another process is writing"):
            fetch(tmp_path, CHECKSUMS, server.url)
    fetch(tmp_path, CHECKSUMS, server.url)
    assert contents(tmp_path) == CONTENT


def test_copy_from_a_folder(tmp_path):
    source, destination = tmp_path / "source", tmp_path / "destination"
    source.mkdir()
    for name, content in CONTENT.items():
        (source / name).write_bytes(content)
    copy_checked(source, destination, CHECKSUMS)
    assert contents(destination) == CONTENT

    (source / "train.en.gz").write_bytes(b"damaged")
    with pytest.raises(UserError, match=f"expected is {CHECKSUMS['train.en.gz']}"):
        copy_checked(source, tmp_path / "other", CHECKSUMS)
    (source / "train.en.gz").unlink()
    with pytest.raises(UserError, match=r"has no train.en.gz"):
        copy_checked(source, tmp_path / "other", CHECKSUMS)
    assert not (tmp_path / "other").exists()


def test_command(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch_module, "MULTI30K_SHA256", CHECKSUMS)
    assert main(["fetch-multi30k", str(tmp_path / "data"), "--base-url", server.url]) == 0
    assert contents(tmp_path / "data") == CONTENT
    assert main(["fetch-multi30k", str(tmp_path / "copy"), "--from", str(tmp_path / "data")]) == 0
    assert contents(tmp_path / "copy") == CONTENT
    assert main(["fetch-multi30k", str(tmp_path / "no"), "--from", str(tmp_path / "missing")]) == 2
    assert "cmlm-kd fetch-multi30k: " in capsys.readouterr().err


def test_real_files_have_the_checksums(shared_dir, tmp_path):
    copied = copy_checked(shared_dir / "data" / "multi30k", tmp_path, MULTI30K_SHA256)
    assert len(copied) == 6
