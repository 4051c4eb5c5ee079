"""Who calls, and what they may do. Keys are kept as SHA-256 only and compared in constant time."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from guerdon_service.core.errors import PermissionDenied, Unauthenticated
from guerdon_service.core.rate import NO_LIMITS, KeyLimits


class Scope(StrEnum):
    """What a key may do. Every key may look (models, evaluations, metrics); else no scope implies another."""

    SCORE = "score"
    READ = "read"
    """For a key that may look and do nothing else."""
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key. `sha256` is the lower-case hex digest of the secret, which itself is nowhere kept.

    Secrets are random and long (``secrets.token_urlsafe(32)`` has 256 bits), so no dictionary holds them and
    one unsalted SHA-256 is enough. A slow hash such as scrypt protects what people choose; here it would only
    make each request cost its 50 ms, and so overload easy.
    """

    name: str
    sha256: str
    scopes: frozenset[Scope]
    limits: KeyLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller; `tenant` is its key's name, empty when the service is open."""

    tenant: str
    scopes: frozenset[Scope]

    @property
    def is_admin(self) -> bool:
        """Whether it has the scope ``admin``."""
        return Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Refuse a caller without `scope`.

        Raises:
            PermissionDenied: the key lacks it.
        """
        if scope not in self.scopes:
            raise PermissionDenied(
                f"API key {self.tenant!r} lacks the scope {scope.value!r}; use a key that has it",
                param="authorization",
            )


ANYONE = Caller("", frozenset(Scope))
"""The caller of a service that has no keys."""
NOBODY = Caller("", frozenset())
"""Whose key was not looked at, yet or at all: may do nothing but what is open to anyone."""


class Keyring:
    """All known keys; an empty ring leaves the service open."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = tuple((key.sha256.encode(), Caller(key.name, key.scopes)) for key in keys)

    def authenticate(self, authorization: str | None) -> Caller:
        """The caller behind an ``Authorization: Bearer KEY`` value.

        Every stored digest is compared, so that time tells nothing about which one was near.

        Raises:
            Unauthenticated: no header, another scheme, or an unknown key.
        """
        if not self._keys:
            return ANYONE
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Unauthenticated(
                "authorization is missing; send 'Authorization: Bearer KEY'", param="authorization"
            )
        digest = sha256(secret.strip().encode("utf-8", "surrogateescape")).hexdigest().encode()
        matches = [caller for known, caller in self._keys if hmac.compare_digest(known, digest)]
        if not matches:
            raise Unauthenticated(
                "authorization holds an unknown API key; ask the operator for one", param="authorization"
            )
        return matches[0]
