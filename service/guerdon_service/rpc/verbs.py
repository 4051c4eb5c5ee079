"""The verbs of ``guerdon.v1.RewardService``: parse, call, render."""

from dataclasses import dataclass

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.call import Call
from guerdon_service.core.limits import Limits
from guerdon_service.core.scorer import Scorer
from guerdon_service.rpc.decode import decode_compare, decode_rank, decode_score, parse
from guerdon_service.rpc.render import render_compare, render_models, render_rank, render_score


@dataclass(frozen=True, slots=True)
class Verbs:
    """One method per verb, from a message's bytes to the reply; raises only `core.errors`."""

    service: Scorer
    limits: Limits

    async def score(self, data: bytes, call: Call) -> pb.ScoreResponse:
        """Score conversations, each on its own."""
        return await self.score_message(parse(pb.ScoreRequest, data), call)

    async def score_message(self, message: pb.ScoreRequest, call: Call) -> pb.ScoreResponse:
        """The same, from a message that a stream carried."""
        result = await self.service.score(decode_score(message, call, self.limits))
        return render_score(result, call.request_id)

    async def compare(self, data: bytes, call: Call) -> pb.CompareResponse:
        """Probability that one response is preferred to another."""
        query = decode_compare(parse(pb.CompareRequest, data), call, self.limits)
        return render_compare(await self.service.compare(query), call.request_id)

    async def rank(self, data: bytes, call: Call) -> pb.RankResponse:
        """Order candidates that answer one prompt, best first."""
        query = decode_rank(parse(pb.RankRequest, data), call, self.limits)
        return render_rank(await self.service.rank(query), call.request_id)

    async def list_models(self, data: bytes, call: Call) -> pb.ListModelsResponse:
        """Models that are loaded."""
        parse(pb.ListModelsRequest, data)
        return render_models(self.service.models())
