"""Every kind of bad body gets the right status, code and param, and a good request beside it its answer."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.contract.harness import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = b'{"items": [{"prompt": "p", "response": "r"}]}'
JSON = {"content-type": "application/json"}


def item(fields: str) -> str:
    return '{"items": [{"prompt": "p", "response": "r"}, {' + fields + "}]}"


BAD: dict[str, tuple[bytes | str, str, str, str]] = {
    # body, code, param, what the message says
    "empty body": ("", "invalid_input", "body", "line 1 column 1"),
    "not JSON": ('{"items": [}', "invalid_input", "body", "line 1 column 12"),
    "trailing text": ('{"items": []} x', "invalid_input", "body", "Extra data"),
    "a list": ("[]", "invalid_input", "body", "give an object"),
    "null": ("null", "invalid_input", "body", "give an object"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "invalid_input", "body", "body is not JSON"),
    "not UTF-8": (b'{"items": [{"prompt": "\xff", "response": "r"}]}', "invalid_input", "body", "byte 23"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "invalid_input", "body", "UTF-8"),
    "NaN": ('{"deadline_ms": NaN}', "invalid_input", "body", "NaN"),
    "Infinity": ('{"deadline_ms": Infinity}', "invalid_input", "body", "Infinity"),
    "-Infinity": ('{"deadline_ms": -Infinity}', "invalid_input", "body", "-Infinity"),
    "huge integer": ('{"deadline_ms": %s}' % ("9" * 5000), "invalid_input", "body", "too long"),
    "huge exponent": ('{"deadline_ms": 1e999}', "invalid_input", "deadline_ms", "whole number"),
    "bottomless": ('{"items": ' + "[" * 40_000, "invalid_input", "body", "nested too deep"),
    "bottomless and closed": (
        '{"items": ' + "[" * 30_000 + "]" * 30_000 + "}",
        "invalid_input",
        "body",
        "nested too deep",
    ),
    "deep": ('{"items": ' + "[" * 40 + "]" * 40 + "}", "invalid_input", "body", "deeper than 32"),
    "deep unknown": ('{"x": ' + '{"x":' * 40 + "1" + "}" * 41, "invalid_input", "body", "deeper than 32"),
    "duplicate key": ('{"items": [], "items": []}', "invalid_input", "items", "twice"),
    "duplicate key inside": (
        item('"prompt": "a", "prompt": "b", "response": "r"'),
        "invalid_input",
        "prompt",
        "twice",
    ),
    "unknown field": ('{"items": [], "itms": []}', "invalid_input", "itms", "unknown field 'itms'"),
    "unknown item field": (
        item('"prompt": "a", "reply": "b"'),
        "invalid_input",
        "items[1].reply",
        "unknown field",
    ),
    "unknown message field": (
        item('"messages": [{"role": "user", "content": "a", "name": "b"}], "response": "r"'),
        "invalid_input",
        "items[1].messages[0].name",
        "unknown field",
    ),
    "unknown field with a lone surrogate": ('{"\\ud800": 1}', "invalid_input", "\\ud800", "unknown field"),
    "long unknown field": (
        '{"%s": 1}' % ("x" * 90_000),
        "invalid_input",
        "x" * 250 + "..." + "x" * 250,
        "unknown field",
    ),
    "no items": ("{}", "invalid_input", "items", "missing"),
    "items null": ('{"items": null}', "invalid_input", "items", "missing"),
    "items empty": ('{"items": []}', "invalid_input", "items", "empty"),
    "items an object": ('{"items": {}}', "invalid_input", "items", "give a list"),
    "items a string": ('{"items": "abc"}', "invalid_input", "items", "give a list"),
    "item a string": ('{"items": ["abc"]}', "invalid_input", "items[0]", "give an object"),
    "no response": (item('"prompt": "a"'), "invalid_input", "items[1].response", "missing"),
    "response a number": (
        item('"prompt": "a", "response": 3'),
        "invalid_input",
        "items[1].response",
        "a number",
    ),
    "prompt a boolean": (
        item('"prompt": true, "response": "r"'),
        "invalid_input",
        "items[1].prompt",
        "a boolean",
    ),
    "prompt a list": (
        item('"prompt": ["a"], "response": "r"'),
        "invalid_input",
        "items[1].prompt",
        "give a string, or the turns as items[1].messages",
    ),
    "empty prompt": (item('"prompt": "", "response": "r"'), "invalid_input", "items[1].prompt", "empty"),
    "empty response": (item('"prompt": "a", "response": ""'), "invalid_input", "items[1].response", "empty"),
    "messages empty": (item('"messages": [], "response": "r"'), "invalid_input", "items[1].prompt", "empty"),
    "messages a string": (
        item('"messages": "a", "response": "r"'),
        "invalid_input",
        "items[1].messages",
        "a string",
    ),
    "message without role": (
        item('"messages": [{"content": "a"}], "response": "r"'),
        "invalid_input",
        "items[1].messages[0].role",
        "missing",
    ),
    "lone surrogate in a prompt": (
        item('"prompt": "a\\ud800b", "response": "r"'),
        "invalid_input",
        "items[1].prompt",
        "surrogate",
    ),
    "lone surrogate in a response": (
        item('"prompt": "a", "response": "\\udfff"'),
        "invalid_input",
        "items[1].response",
        "surrogate",
    ),
    "lone surrogate in model": ('{"model": "\\ud800", "items": []}', "invalid_input", "model", "surrogate"),
    "lone surrogate in lane": ('{"lane": "\\ud800", "items": []}', "invalid_input", "lane", "surrogate"),
    "zero deadline": ('{"deadline_ms": 0, "items": []}', "invalid_input", "deadline_ms", "at least 1"),
    "negative deadline": ('{"deadline_ms": -1, "items": []}', "invalid_input", "deadline_ms", "at least 1"),
    "fractional deadline": (
        '{"deadline_ms": 1.5, "items": []}',
        "invalid_input",
        "deadline_ms",
        "whole number",
    ),
    "boolean deadline": (
        '{"deadline_ms": true, "items": []}',
        "invalid_input",
        "deadline_ms",
        "whole number",
    ),
    "deadline as text": ('{"deadline_ms": "5", "items": []}', "invalid_input", "deadline_ms", "whole number"),
    "deadline over int32": ('{"deadline_ms": 2147483648}', "invalid_input", "deadline_ms", "2147483647"),
    "model a number": ('{"model": 3, "items": []}', "invalid_input", "model", "a number"),
    "unknown model": (
        '{"model": "no", "items": [{"prompt": "p", "response": "r"}]}',
        "unknown_model",
        "model",
        "no",
    ),
    "too many items": (
        json.dumps({"items": [{"prompt": "p", "response": "r"}] * 1001}),
        "too_many_items",
        "items",
        "max_items",
    ),
    "too many items that are none": (
        json.dumps({"items": [5] * 1001}),
        "too_many_items",
        "items",
        "max_items",
    ),
    "an item of many characters": (
        item('"prompt": "a", "response": "%s"' % ("x" * 20_001)),
        "input_too_long",
        "items[1].response",
        "max_item_chars",
    ),
}
STATUS = {"invalid_input": 422, "too_many_items": 422, "input_too_long": 422, "unknown_model": 404}


@pytest.mark.parametrize("case", BAD)
async def test_bad_body(running: Served, case: str) -> None:
    body, code, param, says = BAD[case]
    data = body.encode() if isinstance(body, str) else body
    bad, good = await asyncio.gather(
        running.rest.post("/v1/score", content=data, headers=JSON),
        running.rest.post("/v1/score", content=GOOD, headers=JSON),
    )
    error = bad.json()["error"]
    assert (bad.status_code, error["code"], error["param"]) == (STATUS[code], code, param)
    assert says in error["message"]
    assert len(bad.content) < 2000
    assert len(good.json()["scores"]) == 1


async def test_too_many_candidates_or_prompts_are_refused_before_any_is_looked_at(running: Served) -> None:
    for path, key, other in (
        ("rank", "candidates", {"prompt": "p"}),
        ("policy-evaluations", "prompts", {"policies": ["echo"]}),
    ):
        reply = await running.rest.post(f"/v1/{path}", json={key: [5] * 1001} | other)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (422, "too_many_items", key)


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
async def test_wrong_content_type(running: Served, content_type: str) -> None:
    response = await running.rest.post("/v1/score", content=GOOD, headers={"content-type": content_type})
    assert response.status_code == 415
    assert response.json()["error"]["code"] == "unsupported_media_type"
    assert response.json()["error"]["param"] == "content-type"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/json ; charset=utf-8",
    ],
)
async def test_content_types_that_mean_json_in_utf8(running: Served, content_type: str) -> None:
    response = await running.rest.post("/v1/score", content=GOOD, headers={"content-type": content_type})
    assert response.status_code == 200


async def test_a_declared_length_over_the_limit_is_refused_before_the_body(running: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
    writer.write(b"content-length: 10000000\r\n\r\n")  # and not one byte of it
    assert b" 413 " in await reader.readline()
    writer.close()


async def test_a_chunked_body_over_the_limit_is_refused_as_it_arrives(running: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
    writer.write(b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(11):  # 110 000 bytes of a body that never ends
        writer.write(b"2710\r\n" + b" " * 10_000 + b"\r\n")
    assert b" 413 " in await reader.readline()
    writer.close()


async def test_a_body_in_many_small_chunks_is_read(running: Served) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for byte in GOOD:
            yield bytes([byte])

    response = await running.rest.post("/v1/score", content=chunks(), headers=JSON)
    assert response.status_code == 200


async def test_ten_megabytes(running: Served) -> None:
    response = await running.rest.post("/v1/score", content=b"x" * 10_000_000, headers=JSON)
    assert response.status_code == 413
    assert response.json()["error"]["param"] == "body"
    assert (await running.rest.post("/v1/score", content=GOOD, headers=JSON)).status_code == 200


@pytest.mark.parametrize("text", ["a\x00b", "שלום", "مرحبا 🏳️‍🌈", "\u202e\u2066", "\U0010ffff", "  \n\t "])
async def test_awkward_text_is_good_text(running: Served, text: str) -> None:
    response = await running.rest.post("/v1/score", json={"items": [{"prompt": text, "response": text}]})
    assert response.json()["scores"][0]["tokens"] == 2 * len(text)


async def test_a_whole_number_may_be_written_with_a_point(running: Served) -> None:
    body = GOOD[:-1] + b', "deadline_ms": 60000.0}'
    assert (await running.rest.post("/v1/score", content=body, headers=JSON)).status_code == 200


async def test_nulls_are_absent_fields(running: Served) -> None:
    absent = dict.fromkeys(("model", "profile", "lane", "deadline_ms"))
    body = absent | {"items": [{"prompt": "p", "messages": None, "response": "r"}]}
    assert (await running.rest.post("/v1/score", json=body)).status_code == 200
