"""The HTTP service: what is asked at once is answered together, and what is too large is refused."""

import asyncio
import threading

import httpx
import pytest

from cmlm_kd.deployment.batching import Batcher, TooBusy
from cmlm_kd.deployment.loaded import Classification, Loaded, Translation
from cmlm_kd.deployment.service import Limits, create_app
from cmlm_kd.errors import UserError


class Shouting(Loaded):
    """Translates into capitals, and keeps what it was given at a time."""

    task = "translation"

    def __init__(self):
        super().__init__("shouting")
        self.batches = []
        self.busy, self.go = threading.Event(), threading.Event()
        self.go.set()

    def translate_with_scores(self, texts, decoding=None, **settings):
        self.busy.set()
        self.go.wait(20)
        self.batches.append(list(texts))
        if "bad" in texts:
            raise UserError("a text is bad; send another")
        if "worse" in texts:
            raise RuntimeError("a bug")
        return [Translation(text.upper(), -0.5, True) for text in texts]


class Sentiment(Loaded):
    """Finds every text good."""

    task = "classification"

    def classify(self, texts, second=None, **settings):
        return [Classification("good", {"bad": 0.25, "good": 0.75}, None) for _ in texts]


def client_of(app):
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://test"
    )


async def asked_together(model, client, texts):
    """Ask while the model is at work on another text; return the answers."""
    model.go.clear()
    first = asyncio.create_task(client.post("/translate", json={"texts": ["first"]}))
    while not model.busy.is_set():
        await asyncio.sleep(0.01)
    asked = [asyncio.create_task(client.post("/translate", json={"texts": [text]})) for text in texts]
    for _ in range(1000):
        if (await client.get("/health")).json()["waiting"] == len(texts):
            break
        await asyncio.sleep(0.01)
    model.go.set()
    await first
    return await asyncio.gather(*asked)


def served(model, steps, **limits):
    """Run steps with a client of a running service."""
    app = create_app(model, Limits(**limits))

    async def run():
        async with app.router.lifespan_context(app), client_of(app) as client:
            return await steps(client)

    return asyncio.run(run())


def test_answers_come_in_the_order_of_the_texts():
    async def steps(client):
        return (await client.post("/translate", json={"texts": ["a", "b"]})).json()

    assert served(Shouting(), steps) == {
        "translations": [
            {"text": "A", "score": -0.5, "finished": True},
            {"text": "B", "score": -0.5, "finished": True},
        ]
    }


def test_what_waits_together_is_one_batch_and_nothing_is_lost():
    model = Shouting()
    texts = [f"t{i}" for i in range(40)]
    answers = served(model, lambda client: asked_together(model, client, texts))
    assert [answer.json()["translations"][0]["text"] for answer in answers] == [f"T{i}" for i in range(40)]
    assert model.batches == [["first"], texts]


def test_a_request_that_is_refused_does_not_spoil_the_others():
    model = Shouting()
    answers = served(model, lambda client: asked_together(model, client, ["good", "bad", "fine"]))
    assert [answer.status_code for answer in answers] == [200, 422, 200]
    assert answers[1].json() == {"error": "a text is bad; send another"}


def test_a_request_that_meets_a_bug_does_not_spoil_the_others():
    model = Shouting()
    texts = ["good", "fine", "worse", "well", "sound"]
    answers = served(model, lambda client: asked_together(model, client, texts))
    assert [answer.status_code for answer in answers] == [200, 200, 500, 200, 200]
    assert answers[1].json()["translations"][0]["text"] == "FINE"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (rb'{"texts": ["ab\ud800"]}', "texts.0: character 3 is U+D800, half of a surrogate pair; send the"),
        (rb'{"texts": ["a"], "second": ["b", "\udfff"]}', "second.1: character 1 is U+DFFF, half of a"),
    ],
)
def test_half_of_a_surrogate_pair_is_refused(body, message):
    async def steps(client):
        return await client.post("/classify", content=body, headers={"Content-Type": "application/json"})

    answer = served(Sentiment("sentiment"), steps)
    assert answer.status_code == 422 and message in answer.json()["error"]
    assert answer.json()["error"].count("send") == 1


@pytest.mark.parametrize(
    ("body", "limits", "status", "message"),
    [
        ({"texts": ["a"] * 5}, {"texts": 4}, 422, "texts: 5 of them, 4 are allowed"),
        ({"texts": ["a" * 11]}, {"characters": 10}, 422, "number 1 has 11 characters, 10 are allowed; send"),
        ({"texts": ["a" * 100]}, {"body": 50}, 413, "50 are allowed; send less"),
        ({"texts": []}, {}, 422, "texts: List should have at least 1 item"),
        ({"texts": "a"}, {}, 422, 'a valid list; send {"texts": ["a sentence"], "split": false}'),
        ({"texts": [1]}, {}, 422, "texts.0: Input should be a valid string"),
        ({"text": ["a"]}, {}, 422, "texts: Field required"),
        ([], {}, 422, "the request: "),
        ({"texts": ["a"], "split": "yes"}, {}, 422, "split: Input should be a valid boolean"),
    ],
)
def test_what_is_too_large_or_malformed_is_refused_as_json(body, limits, status, message):
    async def steps(client):
        return await client.post("/translate", json=body)

    answer = served(Shouting(), steps, **limits)
    assert answer.status_code == status and message in answer.json()["error"]


def test_what_is_no_json_or_is_not_called_so():
    async def steps(client):
        called_so = {"Content-Type": "application/json; charset=utf-8"}
        return (
            await client.post("/translate", content=b'{"texts": ["a"]}'),
            await client.post("/translate", data={"texts": "a"}),
            await client.post("/translate", content=b'{"texts": ["a"', headers=called_so),
            await client.post("/translate", content=b'{"texts": ["a"]}', headers=called_so),
        )

    uncalled, form, broken, good = served(Shouting(), steps)
    for answer in (uncalled, form):
        assert answer.status_code == 415
        assert answer.json()["error"].endswith("send Content-Type: application/json")
    assert broken.status_code == 422
    example = '{"texts": ["a sentence"], "split": false}'
    assert broken.json()["error"] == f"the body is no JSON (at character 14); send {example}"
    assert good.status_code == 200


@pytest.mark.parametrize(
    "body", [b'{"texts": ["\xff"]}', b"[" * 200_000, b'{"texts": ["a"], "split": ' + b"9" * 10_000 + b"}"]
)
def test_what_no_parser_reads_is_named_without_a_word_of_paths(body):
    async def steps(client):
        return await client.post("/classify", content=body, headers={"Content-Type": "application/json"})

    answer = served(Sentiment("sentiment"), steps)
    assert answer.status_code == 422
    assert answer.json()["error"] == (
        'the body is no JSON that can be read; send {"texts": ["a text"]}, of pairs with "second" in UTF-8'
    )


def test_a_body_that_does_not_come_is_not_waited_for():
    async def slowly():
        yield b'{"texts": '
        await asyncio.sleep(30)

    async def steps(client):
        headers = {"Content-Type": "application/json", "Content-Length": "17"}
        late = await client.post("/translate", content=slowly(), headers=headers)
        return late, await client.post("/translate", json={"texts": ["a"]})

    late, other = served(Shouting(), steps, seconds=0.1)
    assert late.status_code == 408 and "did not come within 0.1 seconds" in late.json()["error"]
    assert other.status_code == 200


def test_a_body_is_bounded_whatever_the_method():
    async def slowly():
        for _ in range(3):
            yield b"x" * 60

    async def steps(client):
        return [
            await client.request(method, path, content=content)
            for method, path in (("PUT", "/translate"), ("GET", "/health"), ("DELETE", "/nothing"))
            for content in (b"x" * 101, slowly())
        ] + [await client.put("/translate", content=b"x" * 99), await client.get("/health")]

    found = served(Shouting(), steps, body=100)
    assert [answer.status_code for answer in found] == [413, 411] * 3 + [405, 200]
    assert found[0].json()["error"] == "the request has 101 bytes, 100 are allowed; send less"


def test_late_and_busy_services_say_so():
    model = Shouting()

    async def steps(client):
        model.go.clear()
        asked = [asyncio.create_task(client.post("/translate", json={"texts": ["a", "b"]})) for _ in range(4)]
        found = await asyncio.gather(*asked)
        model.go.set()
        return {answer.status_code for answer in found}

    assert served(model, steps, seconds=0.3, waiting=3) == {503, 504}


def test_a_bug_is_an_error_of_one_request_and_the_service_goes_on():
    async def steps(client):
        broken = await client.post("/translate", json={"texts": ["worse"]})
        return broken, await client.post("/translate", json={"texts": ["a"]}), await client.get("/metrics")

    broken, other, metrics = served(Shouting(), steps)
    assert broken.status_code == 500 and "the service failed" in broken.json()["error"]
    assert other.status_code == 200
    assert 'cmlm_kd_requests_total{path="/translate",status="500"} 1.0' in metrics.text


def test_other_paths_health_and_metrics():
    async def steps(client):
        await client.post("/classify", json={"texts": ["a"], "second": ["b"]})
        answers = [
            await client.post("/classify", json={"texts": ["a", "b"], "second": ["b"]}),
            await client.post("/translate", json={"texts": ["a"]}),
            await client.get("/health"),
            await client.get("/metrics"),
        ]
        return answers

    uneven, other, health, metrics = served(Sentiment("sentiment"), steps)
    assert uneven.status_code == 422 and "second: 1 texts for 2; give pairs" in uneven.json()["error"]
    assert other.status_code == 404 and "there are POST /classify" in other.json()["error"]
    assert health.json()["status"] == "ok" and health.json()["task"] == "classification"
    assert 'cmlm_kd_requests_total{path="/classify",status="200"} 1.0' in metrics.text
    assert "cmlm_kd_texts_total 1.0" in metrics.text


def test_a_batcher_keeps_kinds_apart_and_large_jobs_alone():
    seen = []

    def work(jobs):
        seen.append(list(jobs))
        return jobs

    async def run():
        batcher = Batcher(work, len, lambda job: job[0], batch=4, waiting=100)
        asked = [asyncio.create_task(batcher.ask(job)) for job in ("aa", "b", "a", "aaaaaa", "bb", "a")]
        await asyncio.sleep(0)
        async with batcher.running():
            return await asyncio.gather(*asked)

    assert asyncio.run(run()) == ["aa", "b", "a", "aaaaaa", "bb", "a"]
    assert seen == [["aa", "a", "a"], ["b", "bb"], ["aaaaaa"]]


def test_a_job_that_fails_fails_alone_and_is_found_by_halves():
    seen = []

    def work(jobs):
        seen.append(len(jobs))
        if "x" in jobs:
            raise ValueError("x")
        return jobs

    async def run():
        batcher = Batcher(work, len, lambda job: 0, batch=100, waiting=100)
        asked = [asyncio.create_task(batcher.ask(job)) for job in "abcdexgh"]
        await asyncio.sleep(0)
        async with batcher.running():
            return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(run())
    assert "".join(map(str, found)) == "abcdexgh" and isinstance(found[5], ValueError)
    assert seen == [8, 4, 4, 2, 1, 1, 2]


def test_a_full_queue_refuses():
    async def run():
        batcher = Batcher(list, len, lambda job: 0, batch=4, waiting=3)
        first = asyncio.create_task(batcher.ask("aaa"))
        await asyncio.sleep(0)
        with pytest.raises(TooBusy, match="3 texts are waiting, 3 may"):
            await batcher.ask("b")
        first.cancel()

    asyncio.run(run())


def test_limits_are_checked():
    with pytest.raises(UserError, match="--max-texts is 0"):
        Limits(texts=0)
    with pytest.raises(UserError, match="--max-seconds is 0"):
        Limits(seconds=0.0)
