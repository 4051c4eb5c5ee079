"""The embedded policy: greedy is `generate`'s, samples follow the model, candidate i is one for every n."""

import asyncio
from collections import Counter
from contextlib import aclosing
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import BackendFailed, InvalidInput, NotReady
from guerdon_service.core.generation import Generated, SamplingParams
from guerdon_service.policies.causal_lm import CausalLM
from guerdon_service.policies.chat_prompt import encode_prompt
from guerdon_service.policies.decode import decode
from guerdon_service.policies.draw import uniforms
from guerdon_service.policies.transformers_policy import TransformersPolicy
from tests.policies.tiny_policy import CONTEXT, SPECIAL, WORDS

PROMPT = (Message("user", "red blue one"), Message("assistant", "two"), Message("user", "yes no"))


async def collect(policy: TransformersPolicy, n: int, **params: Any) -> list[Generated]:
    """In order of arrival."""
    return [g async for g in policy.generate(PROMPT, n, SamplingParams(**params))]


def by_index(generated: list[Generated]) -> list[Generated]:
    return sorted(generated, key=lambda g: g.index)


def prompts() -> list[tuple[Message, ...]]:
    return [(Message("user", " ".join(WORDS[i : i + 1 + i % 3])),) for i in range(6)]


async def test_greedy_is_what_generate_gives(policy: TransformersPolicy, lm: CausalLM, folder: Path) -> None:
    lengths, plain = set(), AutoModelForCausalLM.from_pretrained(folder)
    for prompt in prompts():
        ids = encode_prompt(lm.tokenizer, prompt)
        whole = plain.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=12)[0, len(ids) :]
        params = SamplingParams(max_tokens=12, temperature=0.0)
        (ours,) = [g async for g in policy.generate(prompt, 1, params)]
        ended = int(whole[-1]) == lm.ends[0]
        assert ours.text == lm.tokenizer.decode(whole, skip_special_tokens=True)
        assert (ours.num_tokens, ours.finish_reason) == (len(whole), "stop" if ended else "length")
        lengths.add(len(whole))
    assert len(lengths) > 1


async def test_candidate_i_is_the_same_for_every_n(policy: TransformersPolicy) -> None:
    whole = by_index(await collect(policy, 33, max_tokens=20, seed=5))
    assert len({g.num_tokens for g in whole}) > 3  # rows left the batch at different times
    assert {g.finish_reason for g in whole} == {"stop", "length"}
    for n in (1, 4, 8, 16):
        assert by_index(await collect(policy, n, max_tokens=20, seed=5)) == whole[:n]


def test_candidate_i_has_the_same_logits_bit_for_bit_for_every_n(lm: CausalLM) -> None:
    def logits(n: int) -> list[torch.Tensor]:
        """Of every step; no row ends before the last."""
        rows: list[torch.Tensor] = []

        @wraps(lm.model.forward)
        def model(*args: Any, **kwargs: Any) -> Any:
            out = lm.model(*args, **kwargs)
            rows.append(out.logits[:, -1])
            return out

        model.parameters, model.forward = lm.model.parameters, lm.model.forward  # type: ignore[attr-defined]
        noise = torch.stack([uniforms(1, i, 6) for i in range(n)])
        ends = [SPECIAL.index("<user>")]
        for _ in decode(model, [1, 4, 5, 3, 2] * 9, noise, temperature=0.5, top_p=1.0, ends=ends):
            pass
        return rows

    most = logits(32)
    assert {len(x) for x in most} == {1, 32}
    for n in (1, 5, 8, 9, 16):
        for mine, theirs in zip(logits(n), most, strict=True):
            assert torch.equal(mine[:n], theirs[:n])


async def test_the_prompt_is_computed_once(
    policy: TransformersPolicy, monkeypatch: Any, lm: CausalLM
) -> None:
    computed: list[int] = []
    forward = lm.model.forward

    @wraps(forward)
    def counting(input_ids: torch.Tensor, **kwargs: Any) -> Any:
        computed.append(input_ids.numel())
        return forward(input_ids, **kwargs)

    monkeypatch.setattr(lm.model, "forward", counting)
    found = await collect(policy, 16, max_tokens=20)
    assert computed[0] == len(encode_prompt(lm.tokenizer, PROMPT))
    assert max(computed[1:]) == 16
    assert computed[-1] == 8  # finished rows left the batch
    wanted = sum(g.num_tokens - 1 for g in found)
    assert sum(computed[1:]) <= wanted + 8 * len(computed[1:])


async def test_candidates_arrive_as_they_finish(policy: TransformersPolicy) -> None:
    arrived = await collect(policy, 16, max_tokens=20)
    assert [g.num_tokens for g in arrived] == sorted(g.num_tokens for g in arrived)
    assert sorted(g.index for g in arrived) == list(range(16))


async def test_longer_responses_go_on_where_shorter_ones_were_cut(policy: TransformersPolicy) -> None:
    short = by_index(await collect(policy, 8, max_tokens=3))
    long = by_index(await collect(policy, 8, max_tokens=9))
    for a, b in zip(short, long, strict=True):
        assert b.text.startswith(a.text)
        assert a == b or a.finish_reason == "length"


async def test_seeds_decide(policy: TransformersPolicy) -> None:
    first = by_index(await collect(policy, 8, seed=1))
    assert by_index(await collect(policy, 8, seed=1)) == first
    assert by_index(await collect(policy, 8, seed=2)) != first
    assert len({g.text for g in first}) > 1


async def test_greedy_candidates_are_all_the_same(policy: TransformersPolicy) -> None:
    found = await collect(policy, 3, temperature=0.0, max_tokens=5)
    assert [g.index for g in found] == [0, 1, 2]
    assert len({g.text for g in found}) == 1


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.3, 0.8)])
def test_samples_follow_the_model(lm: CausalLM, temperature: float, top_p: float) -> None:
    """Chi-square of the first two tokens against products of the model's own softmax."""
    prompt, count = encode_prompt(lm.tokenizer, PROMPT), 4000
    noise = torch.stack([uniforms(0, i, 2) for i in range(count)])
    steps = decode(lm.model, prompt, noise, temperature=temperature, top_p=top_p, ends=lm.ends)
    found = Counter(s.tokens for finished in steps for s in finished)
    expected: dict[tuple[int, ...], float] = {}
    for first, p in enumerate(_next(lm, prompt, temperature, top_p)):
        if first in lm.ends:
            expected[(first,)] = p
            continue
        for second, q in enumerate(_next(lm, [*prompt, first], temperature, top_p)):
            expected[(first, second)] = p * q
    assert set(found) <= {tokens for tokens, p in expected.items() if p > 0}
    common = [tokens for tokens, p in expected.items() if p * count >= 5]
    observed = [found[t] for t in common]
    rest = count - sum(observed)
    wanted = [expected[t] * count for t in common]
    if rest or sum(wanted) < count * (1 - 1e-9):
        observed, wanted = [*observed, rest], [*wanted, count - sum(wanted)]
    assert stats.chisquare(observed, wanted).pvalue > 0.001


def _next(lm: CausalLM, ids: list[int], temperature: float, top_p: float) -> list[float]:
    """The plain definition: sort, keep until the share is reached, renormalise."""
    with torch.no_grad():
        probabilities = torch.softmax(lm.model(torch.tensor([ids])).logits[0, -1].double() / temperature, -1)
    kept, total = {}, 0.0
    for token in probabilities.argsort(descending=True).tolist():
        if total >= top_p:
            break
        kept[token] = float(probabilities[token])
        total += kept[token]
    return [kept.get(i, 0.0) / total for i in range(len(probabilities))]


async def test_closing_the_iterator_stops_the_work(policy: TransformersPolicy, lm: CausalLM) -> None:
    generating: Any = policy.generate(PROMPT, 16, SamplingParams(max_tokens=100))
    async with aclosing(generating) as arriving:
        first = await anext(arriving)
    assert first.num_tokens < 100
    # the thread is free for the next prompt
    assert len(await collect(policy, 2, max_tokens=2)) == 2


async def test_what_was_closed_while_it_waited_is_never_begun(
    policy: TransformersPolicy, lm: CausalLM, monkeypatch: Any
) -> None:
    calls: list[int] = []
    forward = lm.model.forward
    busy, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @wraps(forward)
    def gated(input_ids: torch.Tensor, **kwargs: Any) -> Any:
        calls.append(input_ids.numel())
        if len(calls) == 1:
            loop.call_soon_threadsafe(busy.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return forward(input_ids, **kwargs)

    monkeypatch.setattr(lm.model, "forward", gated)
    first = asyncio.create_task(collect(policy, 1, max_tokens=1))
    await busy.wait()
    waiting = asyncio.create_task(collect(policy, 1, max_tokens=50, seed=9))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    go_on.set()
    assert len(await first) == 1
    assert len(await collect(policy, 1, max_tokens=1)) == 1
    assert len(calls) == 2


async def test_a_prompt_that_does_not_fit_is_refused(policy: TransformersPolicy) -> None:
    with pytest.raises(InvalidInput, match="exceed the context") as caught:
        await collect(policy, 1, max_tokens=CONTEXT - 5)
    assert caught.value.param == "max_tokens"


async def test_turns_that_the_template_refuses_are_refused(policy: TransformersPolicy) -> None:
    turns = (Message("system", "yes"), Message("user", "no"))
    with pytest.raises(InvalidInput, match="no system turn"):
        _ = [g async for g in policy.generate(turns, 1, SamplingParams())]


async def test_a_broken_model_is_a_backend_failure_and_tells_no_details(
    policy: TransformersPolicy, lm: CausalLM, monkeypatch: Any
) -> None:
    @wraps(lm.model.forward)
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(lm.model, "forward", broken)
    with pytest.raises(BackendFailed) as caught:
        await collect(policy, 1)
    assert "secret" not in caught.value.message


async def test_a_closed_policy_answers_no_more(lm: CausalLM) -> None:
    policy = TransformersPolicy("tiny", "digest", lm)
    await policy.close()
    with pytest.raises(NotReady):
        await collect(policy, 1)
