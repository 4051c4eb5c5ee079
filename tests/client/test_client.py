"""The client over both wires, against stub services."""

import asyncio
import threading
from types import MappingProxyType
from typing import Any

import pytest

import guerdon
from guerdon import AsyncClient, Client, Item, Message, MockTransport, Pair, reward_handler
from guerdon.transport import Payload, Verb
from tests.client.conftest import FakeClock, Service
from tests.client.stub import Stub, stub_reward

ITEMS = [("prompt", f"response {i}") for i in range(7)]
TURNS: list[Message | dict[str, str]] = [
    Message("user", "hi"),
    {"role": "assistant", "content": "hello"},
    Message("user", "and?"),
]
WIRE_TURNS: list[Message | dict[str, str]] = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "and?"},
]


def test_scores_come_back_bit_for_bit_and_in_order(service: Service) -> None:
    url, _ = service
    with Client(url, chunk_size=2, max_concurrency=3) as client:
        result = client.score(ITEMS)
    assert [s.reward for s in result.scores] == [stub_reward(*item) for item in ITEMS]
    assert (result.usage.items, result.usage.tokens, len(result.request_ids)) == (7, 56, 4)
    assert (result.model.name, result.scores[0].cached, result.scores[0].std) == ("mock", False, 0.0)


def test_both_wires_give_equal_results(rest: Service, grpc_service: Service) -> None:
    def ask(url: str) -> list[object]:
        with Client(url) as client:
            ranked = client.rank(TURNS, ["a", "b", "c"], top_k=2)
            return [client.score(ITEMS), client.compare([("p", "a", "b")]), ranked, client.models()]

    assert ask(rest[0]) == ask(grpc_service[0])


def test_maps_are_by_name_over_both_wires(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    url, stub = service
    heads, answer = dict.fromkeys(("verbosity", "helpfulness", "safety", "correctness"), 0.0), stub.receive

    def receive(verb: Verb, payload: Payload, headers: dict[str, str]) -> Any:
        reply: Any = answer(verb, payload, headers)
        reply["scores"][0] |= {"attributes": heads, "raw": heads}
        return reply

    monkeypatch.setattr(stub, "receive", receive)
    with Client(url) as client:
        (score,) = client.score(ITEMS[:1]).scores
    assert list(score.attributes) == list(score.raw) == sorted(heads)


def test_every_way_to_give_a_conversation(service: Service) -> None:
    url, stub = service
    with Client(url) as client:
        client.score([("p", "r"), Item("p", "r"), (TURNS, "r"), Item(tuple(TURNS), "r")])
        client.compare([("p", "x", "y"), Pair(TURNS, "x", "y")])
    text, turns = {"prompt": "p", "response": "r"}, {"messages": WIRE_TURNS, "response": "r"}
    assert stub.requests[0][1]["items"] == [text, text, turns, turns]
    assert stub.requests[1][1]["pairs"][1] == {"messages": WIRE_TURNS, "a": "x", "b": "y"}


def test_whitespace_and_any_script_arrive_untouched(service: Service) -> None:
    url, stub = service
    text = " \n\tשלום 😀 \x00é\u2028 "
    with Client(url) as client:
        assert client.score([(text, text)]).scores[0].reward == stub_reward(text, text)
    assert stub.requests[0][1]["items"] == [{"prompt": text, "response": text}]


def test_options_travel_and_absent_ones_do_not(service: Service) -> None:
    url, stub = service
    with Client(url, timeout_s=9.0) as client:
        client.score(ITEMS[:1], model="m", profile="f", lane="bulk", deadline_s=5)
        client.compare([("p", "a", "b")])
    first, second = stub.requests[0][1], stub.requests[1][1]
    assert (first["model"], first["profile"], first["lane"]) == ("m", "f", "bulk")
    assert 0 < first["deadline_ms"] <= 5000
    assert set(second) == {"pairs", "deadline_ms"}
    assert 5000 < second["deadline_ms"] <= 9000


def test_compare_is_typed(service: Service) -> None:
    with Client(service[0]) as client:
        (preference,) = client.compare([("p", "a", "b")]).preferences
    a, b = stub_reward("p", "a"), stub_reward("p", "b")
    assert (preference.a.reward, preference.b.reward, preference.margin) == (a, b, a - b)
    assert preference.preferred == ("a" if a > b else "b")


def test_rank_is_best_first_and_cut_at_top_k(service: Service) -> None:
    texts = list("abcdef")
    with Client(service[0]) as client:
        results = client.rank("p", texts, top_k=3).results
    best = sorted(range(6), key=lambda i: -stub_reward("p", texts[i]))[:3]
    assert [r.index for r in results] == best
    assert [r.score.reward for r in results] == [stub_reward("p", texts[i]) for i in best]


def test_models_and_one_of_them(service: Service) -> None:
    with Client(service[0]) as client:
        (info,) = client.models()
        assert client.model_info() == client.model_info("mock") == info
        assert (info.heads, info.default, info.inferred) == (("reward",), True, ())
        with pytest.raises(guerdon.UnknownModel, match="loaded are: mock"):
            client.model_info("other")


async def test_candidates_may_come_one_by_one_and_turns_be_any_mapping() -> None:
    turns = [MappingProxyType({"role": "user", "content": "p"})]
    async with AsyncClient(MockTransport(reward_handler(stub_reward))) as client:
        ranked = await client.rank(turns, (text for text in ("a", "b", "c")), top_k=2)
        assert [c.index for c in ranked.results] == [
            c.index for c in (await client.rank(turns, ["a", "b", "c"], top_k=2)).results
        ]


def test_connections_are_reused(service: Service) -> None:
    url, stub = service
    with Client(url) as client:
        for _ in range(5):
            client.score(ITEMS[:1])
    assert len(stub.connections) == 1


def test_the_key_is_sent(service: Service) -> None:
    url, stub = service
    with Client(url, api_key="s3cret") as client:
        client.models()
    assert stub.requests[0][2]["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    "key", ["s3cret\n", "s3\ncret", "s3cr\u00e9t", "s3cret ", "s3\x00cret", "", "s3cret\x7f"]
)
@pytest.mark.parametrize("url", ["http://localhost:1", "grpc://localhost:1"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(url: str, key: str) -> None:
    with pytest.raises(guerdon.InvalidInput, match="printable ASCII") as refused:
        Client(url, api_key=key)
    assert refused.value.param == "api_key"
    assert "s3" not in str(refused.value)


def test_an_error_names_the_item_in_the_callers_list(service: Service) -> None:
    items = [*ITEMS, ("prompt", "")]
    with Client(service[0], chunk_size=3) as client, pytest.raises(guerdon.InvalidInput) as raised:
        client.score(items)
    assert raised.value.param == "items[7].response"
    assert str(raised.value).startswith("items[7].response is empty")
    assert raised.value.items == range(6, 8)


def test_a_closed_port_is_connection_failed_after_retries(service: Service, fake: FakeClock) -> None:
    scheme = service[0].split(":")[0]
    with Client(f"{scheme}://127.0.0.1:1", max_retries=2, clock=fake.clock) as client:
        raised = pytest.raises(guerdon.ConnectionFailed, match="is the service running")
        with raised:
            client.score(ITEMS)
    assert len(fake.slept) == 2


def test_a_hanging_service_is_left_at_the_deadline(service: Service) -> None:
    url, stub = service
    release = threading.Event()
    stub.before = lambda number: release.wait(30)
    try:
        with Client(url) as client, pytest.raises(guerdon.DeadlineExceeded):
            client.score(ITEMS, deadline_s=0.2)
    finally:
        release.set()


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([], "items"),
        (["text"], "items[0]"),
        ([("p",)], "items[0]"),
        ([("p", "r"), ("p", None)], "items[1].response"),
        ([("p", 3)], "items[0].response"),
        ([(None, "r")], "items[0].prompt"),
        ([([{"role": "user"}], "r")], "items[0].messages[0]"),
        ([([Message("user", "\ud800")], "r")], "items[0].messages[0].content"),
        ([("p", "\udc00")], "items[0].response"),
    ],
)
async def test_what_cannot_be_sent_is_refused_by_name(items: list[object], param: str) -> None:
    sent: list[Verb] = []
    client = AsyncClient(MockTransport(lambda verb, payload: sent.append(verb) or {}))  # type: ignore[func-returns-value]
    with pytest.raises(guerdon.InvalidInput) as raised:
        await client.score(items)  # type: ignore[arg-type]
    assert (raised.value.param, sent) == (param, [])


async def test_a_single_string_is_no_list_of_candidates() -> None:
    client = AsyncClient(MockTransport(reward_handler(stub_reward)))
    with pytest.raises(guerdon.InvalidInput, match="single string"):
        await client.rank("p", "abc")


@pytest.mark.parametrize("name", ["timeout_s", "max_concurrency", "chunk_size"])
def test_bounds_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(guerdon.InvalidInput, match=name):
        AsyncClient(MockTransport(reward_handler(stub_reward)), **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(guerdon.InvalidInput, match="deadline_s"):
        Client(MockTransport(reward_handler(stub_reward))).score(ITEMS, deadline_s=0)


BAD_PORTS = [f"{scheme}://h:{port}" for scheme in ("http", "grpc") for port in ("abc", "0", "99999", "-1")]


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8080",
        "ftp://h:1",
        "http://",
        "",
        "http://[::1",
        "http://h\n:1",
        "http://xn--:1",
        "http://:1",
        *BAD_PORTS,
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(guerdon.InvalidInput, match="url"):
        Client(url)


class Crowd:
    """Answers only when `limit` requests are there at once, or nothing more can come."""

    def __init__(self, total: int) -> None:
        self.inside = self.most = self.started = 0
        self.total = total
        self.answer = reward_handler(stub_reward)

    async def __call__(self, verb: Verb, payload: Payload) -> Payload:
        self.inside += 1
        self.started += 1
        self.most = max(self.most, self.inside)
        for _ in range(20):  # let everything else that can start do so
            await asyncio.sleep(0)
        self.inside -= 1
        return self.answer(verb, payload)


@pytest.mark.parametrize("limit", [1, 3, 8])
async def test_concurrency_is_bounded_and_used(limit: int) -> None:
    crowd = Crowd(20)
    client = AsyncClient(MockTransport(crowd), chunk_size=1, max_concurrency=limit)
    await client.score([("p", str(i)) for i in range(20)])
    assert (crowd.most, crowd.started) == (limit, 20)


async def test_the_first_failure_stops_the_rest() -> None:
    started: list[str] = []

    def handle(verb: Verb, payload: Payload) -> Payload:
        started.append(payload["items"][0]["response"])
        raise guerdon.BackendFailed("nan")

    client = AsyncClient(MockTransport(handle), chunk_size=1, max_concurrency=1)
    with pytest.raises(guerdon.BackendFailed, match=r"items 0 to 0"):
        await client.score(ITEMS)
    assert started == ["response 0"]


async def test_a_part_that_was_cancelled_from_elsewhere_is_not_passed_over() -> None:
    """As gRPC does to the calls of a channel that is closed meanwhile: the other parts are no answer."""
    full, numbers = reward_handler(stub_reward), iter(range(9))

    def handle(verb: Verb, payload: Payload) -> Payload:
        if next(numbers) == 1:
            raise asyncio.CancelledError
        return full(verb, payload)

    client = AsyncClient(MockTransport(handle), chunk_size=1, max_concurrency=2)
    with pytest.raises(asyncio.CancelledError):
        await client.score([("p", "0"), ("p", "1"), ("p", "2")])


async def test_bytes_split_a_list_too() -> None:
    sizes: list[int] = []
    answer = reward_handler(lambda prompt, response: float(len(response)))

    def handle(verb: Verb, payload: Payload) -> Payload:
        sizes.append(len(payload["items"]))
        return answer(verb, payload)

    megabyte = "é" * 2**19
    result = await AsyncClient(MockTransport(handle)).score([("p", megabyte)] * 7)
    assert (sorted(sizes), len(result.scores)) == ([1, 3, 3], 7)


async def test_a_reply_with_a_lost_answer_is_refused() -> None:
    full = reward_handler(stub_reward)

    def handle(verb: Verb, payload: Payload) -> Payload:
        reply = full(verb, payload)
        return reply | {"scores": reply["scores"][1:]}

    with pytest.raises(guerdon.InvalidReply, match="should hold 7 scores and holds 6"):
        await AsyncClient(MockTransport(handle)).score(ITEMS)


async def test_parts_scored_by_different_models_are_refused() -> None:
    full, numbers = reward_handler(stub_reward), iter(range(9))

    def handle(verb: Verb, payload: Payload) -> Payload:
        reply = full(verb, payload)
        return reply | {"model": reply["model"] | {"version": str(next(numbers))}}

    with pytest.raises(guerdon.ModelChanged, match="mock 0"):
        await AsyncClient(MockTransport(handle), chunk_size=4).score(ITEMS)


async def test_fields_of_a_newer_service_are_ignored_and_missing_ones_told() -> None:
    full = reward_handler(stub_reward)
    newer = AsyncClient(MockTransport(lambda v, p: full(v, p) | {"new": 1}))
    assert len((await newer.score(ITEMS)).scores) == 7
    older = AsyncClient(MockTransport(lambda v, p: {k: x for k, x in full(v, p).items() if k != "usage"}))
    with pytest.raises(guerdon.InvalidReply, match="lacks usage"):
        await older.score(ITEMS)


def test_stub_counts(rest: Service) -> None:
    """The kill tests rely on this count."""
    url, stub = rest
    assert isinstance(stub, Stub)
    with Client(url) as client:
        client.score([("p", "x"), ("p", "x"), ("p", "y")])
    assert stub.responses_asked == {"x": 2, "y": 1}
