"""``cmlm-kd serve`` in a process of its own, asked over the loopback by a real client."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import httpx
import pytest
from tiny_classification import sentences, write_bert

import cmlm_kd
from cmlm_kd.cli import main, serve
from cmlm_kd.errors import UserError

TEXTS = [text for text, _ in sentences(24, seed=5)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("serve") / "model", layers=1)


@pytest.fixture
def service(model, request):
    """The running process and its address."""
    flags = ["--port", "0", "--max-characters", "500", *getattr(request, "param", ())]
    process = subprocess.Popen(
        [sys.executable, "-m", "cmlm_kd", "serve", model, *flags],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process, process.stdout.readline().split()[-1]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def test_a_real_client_loses_no_request_and_sigterm_ends_it(service, model):
    process, address = service

    async def ask():
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            asked = [client.post("/classify", json={"texts": [text]}) for text in TEXTS]
            answers = await asyncio.gather(*asked)
            long = await client.post("/classify", json={"texts": ["film " * 101]})
            return answers, long, await client.get("/metrics")

    assert address.startswith("http://127.0.0.1:")
    answers, long, metrics = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [200] * len(TEXTS)
    wanted = cmlm_kd.load(model).classify(TEXTS)
    found = [answer.json()["classified"][0] for answer in answers]
    assert [one["label"] for one in found] == [one.label for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-6)
    assert long.status_code == 422 and "500 are allowed" in long.json()["error"]
    assert f"cmlm_kd_texts_total {len(TEXTS)}.0" in metrics.text
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.parametrize("service", [("--max-seconds", "0.5")], indirect=True)
@pytest.mark.parametrize("begun", [b"", b"GET /health HTT", b"GET /health HTTP/1.1\r\nHost: a\r\n"])
def test_a_connection_on_which_no_request_comes_is_closed(service, begun):
    _, address = service
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(begun)
        assert connection.recv(100) == b""  # the end, not a time that ran out
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        whole = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
        connection.sendall(whole)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.sendall(begun or whole)
        while connection.recv(1000):
            pass


@pytest.mark.parametrize("begun", [b"what is this?\r\n\r\n", b"GET /health HTTP/1.1\r\nno colon\r\n\r\n"])
def test_what_is_no_request_is_refused_in_json(service, begun):
    _, address = service
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(begun)
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"application/json" in head
    assert "no HTTP request" in json.loads(body)["error"]


def test_what_serve_refuses(model, capsys, tmp_path):
    assert main(["serve", str(model), "--port", "70000"]) == 2
    assert "--port is 70000; it must be from 0 to 65535" in capsys.readouterr().err
    assert main(["serve", str(model), "--max-texts", "0"]) == 2
    assert "--max-texts is 0" in capsys.readouterr().err
    assert main(["serve", str(tmp_path / "none"), "--port", "0"]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["serve", str(model), "--host", "192.0.2.1", "--port", "0"]) == 2
    assert "cannot listen at 192.0.2.1:0" in capsys.readouterr().err


def test_who_reads_the_address_can_ask_at_once_and_the_port_is_taken():
    with serve._listening("127.0.0.1", 0) as listening:
        place = listening.getsockname()
        assert serve._address(listening) == f"http://127.0.0.1:{place[1]}"
        socket.create_connection(place, timeout=5).close()
        with pytest.raises(UserError, match=f"cannot listen at 127.0.0.1:{place[1]}"):
            serve._listening(*place)


def test_the_second_packet_of_an_answer_does_not_wait_for_the_first():
    """uvicorn sends head and body apart; with Nagle's algorithm every answer came 40 ms later."""

    async def first_connection():
        accepted = asyncio.get_running_loop().create_future()
        with serve._listening("127.0.0.1", 0) as listening:
            server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=listening)
            async with server:
                _, client = await asyncio.open_connection(*listening.getsockname())
                writer = await accepted
                connection = writer.get_extra_info("socket")
                found = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                client.close()
                writer.close()
        return found

    assert asyncio.run(first_connection())


def test_an_address_of_ipv6_is_one_for_clients():
    bound = SimpleNamespace(getsockname=lambda: ("::1", 8000, 0, 0))
    assert serve._address(bound) == "http://[::1]:8000"
    try:  # where the computer has IPv6, the socket is of it, too
        listening = serve._listening("::1", 0)
    except UserError:
        pytest.skip("this computer has no IPv6")
    with listening:
        assert serve._address(listening) == f"http://[::1]:{listening.getsockname()[1]}"
