"""Whether a checkpoint may be gone on with: it is of the same config, data, base and library versions."""

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

_LOG = logging.getLogger(__name__)
_REVISION = "git_revision"


def run_identity(parents: Mapping[str, Any]) -> str:
    """``SHA-256@revision`` of what a run is made from.

    The digest leaves the code's revision out: most commits have nothing to do with a run that is under way.

    Args:
        parents: of the manifest to be, `git_revision` among them.
    """
    made_from = {key: value for key, value in parents.items() if key != _REVISION}
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return f"{digest}@{parents[_REVISION]}"


def is_same_run(stored: str, now: str) -> bool:
    """Whether two identities have one digest; a warning is logged where only their revisions differ."""
    digest, _, revision = stored.partition("@")
    digest_now, _, revision_now = now.partition("@")
    if digest != digest_now:
        return False
    if revision != revision_now:
        _LOG.warning(
            "this run was begun by the code of git revision %s and goes on with that of %s; the weights may "
            "differ from those of an unbroken run",
            revision or "unknown",
            revision_now or "unknown",
        )
    return True
