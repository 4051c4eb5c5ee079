"""One model's scores for a job: what an earlier one kept is taken over, what the store lacks is scored."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial

from guerdon_service.core.errors import InvalidInput, UnknownModel
from guerdon_service.core.evaluation import Evaluation, EvaluationStore, ItemScores
from guerdon_service.core.result import Provenance
from guerdon_service.core.streams import closed_after
from guerdon_service.evaluation.build_report import Contender, Data
from guerdon_service.evaluation.item import Item
from guerdon_service.evaluation.pinning import KeepLoaded, pinned
from guerdon_service.evaluation.read import chunks, read_items
from guerdon_service.evaluation.robustness import PROBE_CHUNK, TRANSFORMS, measure_robustness, probes
from guerdon_service.evaluation.score import CHUNK_ITEMS, Asked, score_chunks, served_slope
from guerdon_service.scoring.service import ScoringService

Keep = Callable[[str, list[ItemScores]], Awaitable[None]]
"""Keeps scores under a key, `EvaluationStore`'s `model`."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one model is asked: the items as they are, or a sample of `robustness` pairs changed."""

    key: str
    items: Callable[[], Iterator[Item]]
    chunk_items: int
    robustness: int = 0


@dataclass(frozen=True, slots=True)
class ContenderScorer:
    """Scores the models of one job, `claimed`; `keep` stores what was scored, `loaded` ends with the job.

    Versions of an open job stay (`registry.rules.needed_versions`); they are held besides, because what is
    held is let go at the end, and nothing else would do that.
    """

    scoring: ScoringService
    store: EvaluationStore
    keep_loaded: KeepLoaded
    loaded: AsyncExitStack
    claimed: Evaluation
    data: Data
    keep: Keep

    async def score(self, asked_name: str, pinned_as: str, digest: str) -> Contender:
        """Score what the store lacks of one model, which was pinned as `pinned_as` with `digest`.

        Raises:
            GuerdonError: the model is gone or another one, or the data is not as it should be.
        """
        asked, model = await self._pinned(asked_name, pinned_as)
        if model.digest != digest:
            raise InvalidInput(
                f"model {asked_name} is {model.version} now, not {pinned_as}; start it again",
                param="candidate",
            )
        return await self._contender(asked, model, pinned_as)

    async def _contender(self, asked: Asked, model: Provenance, pinned_as: str) -> Contender:
        num_pairs, files = self.claimed.query.robustness, self.data.files
        plain = _Part(pinned_as, partial(read_items, files), CHUNK_ITEMS)
        # A service of another version that takes the job over may know other transforms.
        key = f"{pinned_as} changed by {', '.join(TRANSFORMS)}"
        changed = _Part(key, partial(probes, files, num_pairs), PROBE_CHUNK, num_pairs)
        for part in (plain, changed) if num_pairs else (plain,):
            await self._reuse(part, model)
            await self._score_part(asked, model.digest, part)
        rows = await asyncio.to_thread(
            lambda: (
                measure_robustness(files, num_pairs, self._kept(plain), self._kept(changed))
                if num_pairs
                else ()
            )
        )
        return Contender(model, served_slope(self.scoring, asked.model), partial(self._kept, plain), rows)

    def _kept(self, part: _Part) -> dict[str, ItemScores]:
        return self.store.scores(self.claimed.id, part.key)

    async def _score_part(self, asked: Asked, digest: str, part: _Part) -> None:
        """Score what the store lacks, a chunk kept as soon as it is there."""
        known = set(await asyncio.to_thread(self._kept, part))
        todo = chunks((item for item in part.items() if item.id not in known), part.chunk_items)
        found = score_chunks(self.scoring, asked, digest, lambda: next(todo, []))
        async with closed_after(found) as arriving:
            async for scores in arriving:
                await self.keep(part.key, scores)

    async def _pinned(self, asked_name: str, pinned_as: str) -> tuple[Asked, Provenance]:
        """By version; an ensemble, whose members' versions no name has, by the name that was asked for."""
        asked = Asked(pinned_as, self.claimed.query.profile, self.claimed.query.by)
        try:
            return asked, await self._kept_loaded(asked)
        except UnknownModel:
            if not self._is_ensemble(asked_name):
                raise
            asked = replace(asked, model=asked_name)
            return asked, await self._kept_loaded(asked)

    def _is_ensemble(self, name: str) -> bool:
        with suppress(UnknownModel):
            return bool(self.scoring.catalog.resolve(name).spec.members)
        return False

    async def _kept_loaded(self, asked: Asked) -> Provenance:
        return await self.loaded.enter_async_context(pinned(self.scoring, asked, self.keep_loaded))

    async def _reuse(self, part: _Part, model: Provenance) -> None:
        """Take over what an earlier evaluation kept of this very model, profile, back end and data.

        What was refused is asked again: why it was is not kept.
        """
        for other in await asyncio.to_thread(self.store.all):
            if other.state != "done" or other.dataset_sha256 != self.claimed.dataset_sha256:
                continue
            if part.robustness not in (0, other.query.robustness):
                continue  # another sample
            if model.digest not in (other.candidate_digest, other.baseline_digest):
                continue
            found = await asyncio.to_thread(self.store.get, other.id)
            report = (found.report if found else None) or {}
            sides = [report[side]["model"] for side in ("candidate", "baseline") if report.get(side)]
            if asdict(model) in sides:
                kept = await asyncio.to_thread(self.store.scores, other.id, part.key)
                await self.keep(part.key, [s for s in kept.values() if s.rewards is not None])
                return
