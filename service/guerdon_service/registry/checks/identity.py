"""Is it what was registered, and can callers go on as before?"""

from guerdon_service.core.registry import GateCheck
from guerdon_service.registry.evidence import NO_INCUMBENT, Evidence, not_asked
from guerdon_service.registry.policy import GatePolicy


def identity(evidence: Evidence, _: GatePolicy) -> GateCheck:
    """The artifact on disk has the digest that was registered."""
    if isinstance(evidence.on_disk, str):
        return GateCheck("identity", False, evidence.on_disk)
    found, registered = evidence.on_disk.digest, evidence.candidate.digest
    if found != registered:
        return GateCheck("identity", False, f"digest is {found[:12]} on disk, {registered[:12]} registered")
    return GateCheck("identity", True, f"digest {registered[:12]} on disk as registered")


def interface(evidence: Evidence, _: GatePolicy) -> GateCheck:
    """No head and no profile that callers may use goes away; a change of encoding or length is told."""
    old, new = evidence.incumbent_manifest, evidence.on_disk
    if evidence.incumbent is None:
        return not_asked("interface", NO_INCUMBENT)
    if old is None or isinstance(new, str):
        return not_asked("interface", f"the {'incumbent' if old is None else 'artifact'} cannot be read")
    gone = [f"head {h.name}" for h in old.heads if h.name not in {n.name for n in new.heads}]
    gone += [f"profile {name}" for name in old.profiles if name not in new.profiles]
    if gone:
        return GateCheck("interface", False, f"{', '.join(gone)} would go away")
    changes = [
        f"{what} changes from {before} to {after}"
        for what, before, after in (
            ("default profile", next(iter(old.profiles), ""), next(iter(new.profiles), "")),
            ("encoding", old.encoding, new.encoding),
            ("max_tokens", old.max_tokens, new.max_tokens),
        )
        if before != after
    ]
    return GateCheck("interface", True, "; ".join(changes) or "the same heads, profiles, encoding and length")


def certificate(evidence: Evidence, _: GatePolicy) -> GateCheck:
    """Its served scores are those of the reference, alone and in batches."""
    if not evidence.certificate:
        return not_asked("certificate", "it was loaded without one")
    failed = [f"{check.name}: {check.detail}" for check in evidence.certificate if not check.passed]
    passed = f"passed: {', '.join(check.name for check in evidence.certificate)}"
    return GateCheck("certificate", not failed, "; ".join(failed) or passed)
