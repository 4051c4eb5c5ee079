"""Logged candidates leave after a time: prompts and responses are people's words."""

import asyncio
import logging
import time
from collections.abc import Callable

from guerdon_service.core.candidate_log import CandidateStore
from guerdon_service.core.errors import GuerdonError

SWEEP_S = 600.0
"""How often records that are too old are looked for, in seconds."""
DAY_S = 86_400.0

log = logging.getLogger(__name__)


async def prune_candidates(
    store: CandidateStore,
    kept_days: float,
    *,
    sweep_s: float = SWEEP_S,
    now: Callable[[], float] = time.time,
) -> None:
    """Remove records older than `kept_days`, a bounded number in each transaction, until cancelled.

    Any number of replicas may do so at once. An outage of the store is waited out.
    """
    while True:
        try:
            while await asyncio.to_thread(store.prune, now() - kept_days * DAY_S):
                pass
        except GuerdonError as err:
            log.warning("old candidates not removed", extra={"reason": err.message})
        await asyncio.sleep(sweep_s)
