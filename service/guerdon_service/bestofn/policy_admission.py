"""Cheap refusal of a policy evaluation: everything that can be said before a token is sampled."""

from guerdon_service.bestofn.admission import check_prompt, check_sampling
from guerdon_service.core.conversation import Conversation, check_conversation
from guerdon_service.core.errors import InvalidInput, TooManyItems
from guerdon_service.core.limits import Limits, check_count
from guerdon_service.core.policy_evaluation import PolicyEvaluationQuery

MAX_POLICIES = 32
MAX_RESPONSES = 200_000
"""Most responses of one evaluation over all policies: they are kept in memory until it ends."""


def check_policy_query(query: PolicyEvaluationQuery, limits: Limits) -> None:
    """Refuse what cannot be sampled or compared.

    Raises:
        InvalidInput: the offending field is named.
        TooManyItems: too many prompts, or responses in all.
    """
    check_sampling(query.n, query.params)
    if query.n > limits.max_items:
        raise TooManyItems(
            f"n is {query.n}, the limit max_items is {limits.max_items}; ask for fewer", param="n"
        )
    _check_policies(query)
    _check_size(query, limits)
    for i, prompt in enumerate(query.prompts):
        check_prompt(prompt.messages, limits, f"prompts[{i}].prompt")
        if prompt.baseline_response is not None:
            param = f"prompts[{i}].baseline_response"
            conversation = Conversation(prompt.messages, prompt.baseline_response)
            check_conversation(conversation, f"prompts[{i}].prompt", param)
    _check_baseline(query)


def _check_policies(query: PolicyEvaluationQuery) -> None:
    if not 1 <= len(query.policies) <= MAX_POLICIES:
        raise InvalidInput(
            f"policies has {len(query.policies)} names; give 1 to {MAX_POLICIES}", param="policies"
        )
    twice = next((name for name in query.policies if query.policies.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f"policies names {twice!r} twice; name each once", param="policies")


def _check_size(query: PolicyEvaluationQuery, limits: Limits) -> None:
    num = len(query.prompts)
    if not num:
        raise InvalidInput("prompts is empty; give at least one", param="prompts")
    check_count("prompts", num, limits)
    num_policies = len({*query.policies, query.baseline} - {None})
    if num * query.n * num_policies > MAX_RESPONSES:
        raise TooManyItems(
            f"{num} prompts with n = {query.n} for {num_policies} policies are over {MAX_RESPONSES} "
            "responses; ask for a smaller n or fewer prompts",
            param="n",
        )


def _check_baseline(query: PolicyEvaluationQuery) -> None:
    given = [prompt.baseline_response is not None for prompt in query.prompts]
    if query.baseline is not None and any(given):
        raise InvalidInput(
            "baseline is given beside the prompts' baseline_response; give one of them", param="baseline"
        )
    if any(given) and not all(given):
        i = given.index(False)
        raise InvalidInput(
            f"prompts[{i}].baseline_response is missing; give every prompt one, or none",
            param=f"prompts[{i}].baseline_response",
        )
    if query.judge is not None and query.baseline is None and not any(given):
        raise InvalidInput(
            "judge has nothing to compare with; name a baseline, or give each prompt a baseline_response",
            param="judge",
        )
