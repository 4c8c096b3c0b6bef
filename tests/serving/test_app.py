"""The server over real sockets: shapes, wrong requests, overload, slow clients, deadlines, another model."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from resnets.serving.model import Limits, Slot

from .conftest import BLUE, CLASSES, GREEN, RED, SIDE, Colours, Serve, png

B64 = base64.b64encode(RED).decode()
PIXELS = [[[200, 10, 10]] * SIDE] * SIDE


def classify(url: str, content: bytes, **more: Any) -> httpx.Response:
    headers = {"Content-Type": "image/png"}
    return httpx.post(f"{url}/v1/models/colours:classify", content=content, headers=headers, timeout=30, **more)


def test_images_as_they_are_and_the_shapes_of_tensorflow_serving(serve: Serve) -> None:
    url = serve(Colours())
    found = classify(url, BLUE).json()
    assert found["classes"][0]["class"] == "蓝"
    assert sum(row["p"] for row in found["classes"]) == pytest.approx(1)
    assert found["model_version"] == "1"
    assert len(classify(url, RED, params={"top": 1}).json()["classes"]) == 1
    for row in ({"b64": B64}, {"image": {"b64": B64}}, {"image_bytes": {"b64": B64}}, PIXELS, {"image": PIXELS}):
        answer = httpx.post(f"{url}/v1/models/colours:predict", json={"instances": [row, row]}).json()
        assert len(answer["predictions"]) == 2
        assert max(answer["predictions"][0]) == answer["predictions"][0][0] > 0.8
        answer = httpx.post(f"{url}/v1/models/colours:classify", json={"examples": [row]}).json()
        assert answer["result"][0][0][0] == "red"
    state = httpx.get(f"{url}/v1/models/colours").json()["model_version_status"][0]
    assert (state["version"], state["state"]) == ("1", "AVAILABLE")
    assert httpx.get(f"{url}/v1/models/colours/metadata").json()["metadata"]["classes"] == [*CLASSES]
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert httpx.get(f"{url}/readyz").json() == {"status": "ready", "version": "1", "failed_version": ""}
    assert 'resnets_requests_total{status="200"} 12.0' in httpx.get(f"{url}/metrics").text
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    assert set(paths) == {
        "/healthz", "/readyz", "/metrics", "/v1/models/{name}", "/v1/models/{name}/metadata",
        "/v1/models/{name}:predict", "/v1/models/{name}:classify", "/v1/models/{name}:explain",
    }  # fmt: skip


def test_an_explanation_is_a_picture_or_nothing(serve: Serve) -> None:
    url = serve(Colours())
    post = lambda content: httpx.post(f"{url}/v1/models/colours:explain", content=content, timeout=30)  # noqa: E731
    assert post(GREEN).headers["content-type"] == "image/png"
    assert post(RED).status_code == 204


JSON, PREDICT, CLASSIFY = "application/json", "/v1/models/colours:predict", "/v1/models/colours:classify"


def instances(*rows: Any) -> bytes:
    return json.dumps({"instances": [*rows]}).encode()


# what is sent, as what, where, and the status and kind of the answer
WRONG: dict[str, tuple[bytes, str, str, int, str]] = {
    "nothing": (b"", "image/png", CLASSIFY, 400, "empty"),
    "nothing, as JSON": (b"", JSON, PREDICT, 400, "empty"),
    "no image": (b"no image", "image/png", CLASSIFY, 422, "unreadable_image"),
    "half an image": (RED[:40], "image/png", CLASSIFY, 422, "unreadable_image"),
    "the beginning of a JPEG": (b"\xff\xd8\xff\xe0" + bytes(20), "image/jpeg", CLASSIFY, 422, "unreadable_image"),
    "an SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", CLASSIFY, 422, "unreadable_image"),
    "a TIFF": (b"II*\0" + bytes(100), "image/tiff", CLASSIFY, 422, "unreadable_image"),
    "a PDF": (b"%PDF-1.7", "application/octet-stream", CLASSIFY, 422, "unreadable_image"),
    "a zip": (b"PK\3\4" + bytes(60), "application/octet-stream", CLASSIFY, 422, "unreadable_image"),
    "a pickle": (b"\x80\x04cos\nsystem\n.", "application/octet-stream", CLASSIFY, 422, "unreadable_image"),
    "a PNG of 60,000 x 60,000": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea`\0\0\xea`\x08\2\0\0\0" + bytes(8), "image/png",
                                 CLASSIFY, 422, "unreadable_image"),
    "a GIF of nothing": (b"GIF89a\0\0\0\0\0\0\0;", "image/gif", CLASSIFY, 422, "unreadable_image"),
    "a form": (b"a=b", "application/x-www-form-urlencoded", CLASSIFY, 415, "content_type"),
    "a form with files": (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", CLASSIFY, 415, "content_type"),
    "text": (b"red", "text/plain", CLASSIFY, 415, "content_type"),
    "XML": (b"<a/>", "application/xml", CLASSIFY, 415, "content_type"),
    "a content type of nonsense": (RED, "\x7f", CLASSIFY, 415, "content_type"),
    "top of 0": (RED, "image/png", f"{CLASSIFY}?top=0", 422, "bad_number"),
    "top below 0": (RED, "image/png", f"{CLASSIFY}?top=-5", 422, "bad_number"),
    "top of words": (RED, "image/png", f"{CLASSIFY}?top=many", 422, "bad_parameter"),
    "top without end": (RED, "image/png", f"{CLASSIFY}?top=1e999", 422, "bad_parameter"),
    "top of 9,000 digits": (RED, "image/png", f"{CLASSIFY}?top={'9' * 9000}", 422, "bad_parameter"),
    "another model": (RED, "image/png", "/v1/models/other:classify", 404, "no_model"),
    "another model, JSON": (instances({"b64": B64}), JSON, "/v1/models/other:predict", 404, "no_model"),
    "a path above": (RED, "image/png", "/v1/models/..%2f..%2fetc:classify", 404, "not_found"),
    "another verb": (RED, "image/png", "/v1/models/colours:train", 405, "method"),
    "another place": (RED, "image/png", "/v2/models", 404, "not_found"),
    "no JSON": (b"{", JSON, PREDICT, 400, "not_json"),
    "JSON that is cut": (instances({"b64": B64})[:-3], JSON, PREDICT, 400, "not_json"),
    "JSON in UTF-16": ('{"instances": []}'.encode("utf-16"), JSON, PREDICT, 422, "no_images"),
    "bytes that are no text": (b"\xff\xfe\xfd", JSON, PREDICT, 400, "not_json"),
    "JSON nested deep": (b"[" * 100_000, JSON, PREDICT, 400, "not_json"),
    "objects nested deep": (b'{"instances":' * 50_000, JSON, PREDICT, 400, "not_json"),
    "a JSON list": (b"[]", JSON, PREDICT, 400, "not_json"),
    "a JSON number": (b"5", JSON, PREDICT, 400, "not_json"),
    "JSON null": (b"null", JSON, PREDICT, 400, "not_json"),
    "a JSON text": (b'"instances"', JSON, PREDICT, 400, "not_json"),
    "no instances": (b"{}", JSON, PREDICT, 422, "no_images"),
    "an empty list": (instances(), JSON, PREDICT, 422, "no_images"),
    "instances that are a text": (b'{"instances": "abc"}', JSON, PREDICT, 422, "no_images"),
    "instances that are an object": (b'{"instances": {"b64": "x"}}', JSON, PREDICT, 422, "no_images"),
    "instances that are null": (b'{"instances": null}', JSON, PREDICT, 422, "no_images"),
    "examples for predict": (b'{"examples": []}', JSON, PREDICT, 422, "no_images"),
    "instances for classify": (instances({"b64": B64}), JSON, CLASSIFY, 422, "no_images"),
    "too many images": (instances(*[{"b64": "AA=="}] * 65), JSON, PREDICT, 413, "too_many"),
    "an image that is a number": (instances(5), JSON, PREDICT, 422, "no_image"),
    "an image that is null": (instances(None), JSON, PREDICT, 422, "no_image"),
    "an image that is a text": (instances(B64), JSON, PREDICT, 422, "no_image"),
    "an image that is true": (instances(True), JSON, PREDICT, 422, "no_image"),
    "an empty object": (instances({}), JSON, PREDICT, 422, "no_image"),
    "an object of two": (instances({"b64": B64, "url": "http://x"}), JSON, PREDICT, 422, "no_image"),
    "an address": (instances({"url": "http://127.0.0.1/"}), JSON, PREDICT, 422, "no_image"),
    "base64 that is a number": (instances({"b64": 5}), JSON, PREDICT, 422, "no_image"),
    "base64 that is none": (instances({"b64": "***"}), JSON, PREDICT, 422, "not_base64"),
    "base64 of odd length": (instances({"b64": "AAA"}), JSON, PREDICT, 422, "not_base64"),
    "base64 in Chinese": (instances({"b64": "图片"}), JSON, PREDICT, 422, "not_base64"),
    "base64 of nothing": (instances({"b64": ""}), JSON, PREDICT, 422, "unreadable_image"),
    "base64 of no image": (instances({"b64": "AAAA"}), JSON, PREDICT, 422, "unreadable_image"),
    "one bad image of two": (instances({"b64": B64}, {"b64": "AAAA"}), JSON, PREDICT, 422, "unreadable_image"),
    "pixels of another size": (instances([[[1, 2, 3]]]), JSON, PREDICT, 422, "pixels"),
    "pixels that are ragged": (instances([[[1, 2, 3]], [[1]]]), JSON, PREDICT, 422, "pixels"),
    "pixels of words": (instances([[["a"] * 3] * SIDE] * SIDE), JSON, PREDICT, 422, "pixels"),
    "pixels below 0": (instances([[[-1, 0, 0]] * SIDE] * SIDE), JSON, PREDICT, 422, "pixels"),
    "pixels above 255": (instances([[[256, 0, 0]] * SIDE] * SIDE), JSON, PREDICT, 422, "pixels"),
    "pixels with fractions": (instances([[[0.5, 0, 0]] * SIDE] * SIDE), JSON, PREDICT, 422, "pixels"),
    "pixels without end": (instances([[[10**400, 0, 0]] * SIDE] * SIDE), JSON, PREDICT, 422, "pixels"),
    "pixels that are no numbers": (b'{"instances": [[[NaN]]]}', JSON, PREDICT, 422, "pixels"),
    "an empty image": (instances([]), JSON, PREDICT, 422, "pixels"),
}  # fmt: skip


def test_every_wrong_request_gets_its_own_error_and_no_failure(serve: Serve, subtests: pytest.Subtests) -> None:
    assert len(WRONG) >= 60
    url = serve(Colours())
    with httpx.Client(base_url=url, timeout=30) as client:
        for name, (content, kind, path, status, word) in WRONG.items():
            with subtests.test(name):
                answer = client.post(path, content=content, headers={"Content-Type": kind})
                assert (answer.status_code, answer.json()["kind"]) == (status, word), answer.text
                assert len(answer.json()["error"]) > 10
        assert classify(url, RED).status_code == 200


def test_what_is_too_large_is_turned_away_declared_or_not(serve: Serve) -> None:
    url = serve(Colours(), Limits(most_bytes=10_000))
    assert classify(url, bytes(10_001)).json()["kind"] == "too_large"

    def trickle() -> Any:
        for _ in range(20):
            yield bytes(1000)

    headers = {"Content-Type": "image/png"}
    answer = httpx.post(f"{url}/v1/models/colours:classify", content=trickle(), headers=headers)
    assert answer.status_code == 413


def test_a_fault_of_ours_is_500_for_its_own_request_only(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    url = serve(Colours())
    answer = classify(url, png((13, 13, 13)))
    assert (answer.status_code, answer.json()["kind"]) == (500, "internal")
    assert "RuntimeError" not in answer.text
    assert classify(url, png((14, 14, 14))).status_code == 500
    assert classify(url, RED).status_code == 200


def test_overload_is_turned_away_at_once_and_what_was_taken_is_answered(serve: Serve) -> None:
    model = Colours()
    model.go_on.clear()
    url = serve(model, Limits(batch=2, waiting=4))
    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(classify, url, RED) for _ in range(4)]
        until = time.monotonic() + 10
        while httpx.get(f"{url}/metrics").text.count("resnets_waiting_images 4.0") == 0:
            assert time.monotonic() < until
        began = time.monotonic()
        answer = classify(url, RED)
        assert time.monotonic() - began < 1
        assert (answer.status_code, answer.json()["kind"]) == (503, "busy")
        assert answer.headers["retry-after"] == "1"
        assert httpx.get(f"{url}/healthz").status_code == 200
        model.go_on.set()
        assert [future.result().status_code for future in taken] == [200] * 4


def test_a_request_that_takes_too_long_is_told_so(serve: Serve) -> None:
    model = Colours()
    model.go_on.clear()
    url = serve(model, Limits(request_seconds=0.5))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(classify, url, RED).result()
    model.go_on.set()
    assert (answer.status_code, answer.json()["kind"]) == (504, "too_late")
    assert classify(url, RED).status_code == 200


@pytest.mark.parametrize(
    ("head", "least", "most"),
    [
        (b"", 0.2, 3.0), (b"POST /v1/models/colours:classify HTTP/1.1\r\nHost: x\r\n", 0.2, 3.0),
        (b"POST /v1/models/colours:classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
         b"Content-Length: 5000\r\n\r\n", 0.9, 3.0),
    ],
)  # fmt: skip
def test_who_is_slow_loses_the_connection(serve: Serve, head: bytes, least: float, most: float) -> None:
    """A byte now and then does not help: the time is that of the whole head, and of the whole request."""
    url = serve(Colours(), Limits(header_seconds=0.4, request_seconds=1.2))
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(10)
        connection.sendall(head)
        began = time.monotonic()
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.1):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            answer = connection.recv(1000)
        except OSError:
            answer = b""
        stop.set()
        thread.join()
        assert least < time.monotonic() - began < most
        assert answer == b"" or b"408" in answer


def test_another_model_takes_the_place_between_two_requests(serve: Serve) -> None:
    slot = Slot("colours", Colours("1"))
    url = serve(slot.model, slot=slot)
    seen = []
    for number in range(30):
        slot.model = Colours(str(number))
        seen.append(classify(url, RED).json()["model_version"])
    assert seen == [str(number) for number in range(30)]


def test_the_page_is_there_and_lets_no_name_out_of_its_script(serve: Serve) -> None:
    page = httpx.get(serve(Colours(), name='a</script><b>"')).text
    assert "</script><b>" not in page
    assert "Drop a picture here" in page
    assert "把图片拖到这里" in page
