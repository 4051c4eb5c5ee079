"""Every setting of the service and its default. `load_settings.py` gathers them from their sources."""

from collections.abc import Mapping
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass as checked

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.auth import ApiKey, Scope
from guerdon_service.core.limits import Limits
from guerdon_service.core.rate import KeyLimits
from guerdon_service.registry.policy import GatePolicy
from guerdon_service.shadow.plan import ShadowPlan

_STRICT = ConfigDict(extra="forbid", frozen=True)

Port = Annotated[int, Field(ge=0, le=65535)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Device = Annotated[str, StringConstraints(pattern=r"^(cpu|cuda(:\d{1,3})?)$")]
Share = Annotated[float, Field(ge=0, le=1)]
DialectName = Literal["openrlhf", "slime", "vllm", "sglang", "tei", "cohere", "jina", "voyage", "oip"]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

if TYPE_CHECKING:
    CheckedLimits = Limits
    CheckedGatePolicy = GatePolicy
else:
    CheckedLimits = checked(Limits, config=ConfigDict(extra="forbid"), frozen=True)
    """`core.Limits` whose fields are checked; its instances are `Limits`."""
    CheckedGatePolicy = checked(GatePolicy, config=ConfigDict(extra="forbid"), frozen=True)
    """`registry.policy.GatePolicy` likewise."""


class ModelSettings(BaseModel):
    """One model. What it leaves out is the service's own `backend`, `dtype`, `device` and `devices`."""

    model_config = _STRICT

    source: str = ""
    backend: str | None = None
    dtype: str | None = None
    device: str | None = None
    devices: tuple[Device, ...] | None = None
    """Given, an engine process for each, which batches of one queue go to; ``[]`` is none, and `device`."""
    members: tuple[ModelName, ...] = ()
    """Names of other models; given, this one is their ensemble and has no source."""
    conservatism: Annotated[float, Field(allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.source) == bool(self.members):
            raise ValueError("give either source or members")
        if len(set(self.members)) < len(self.members):
            raise ValueError("members names a model twice; give each once")
        if self.device and self.devices:
            raise ValueError("give either device or devices")
        return self


class PolicySettings(BaseModel):
    """One policy: embedded, or behind an OpenAI-compatible URL."""

    model_config = _STRICT

    source: str = ""
    """A folder, an installed package that carries one GGUF file, or a hub id."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str | None = None
    """None is the service's own."""
    url: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s]+)?$")] = ""
    """With its ``/v1``."""
    model: str = ""
    """Its name at the URL; empty is the policy's own name."""
    api_key: SecretStr = SecretStr("")
    stream: bool = True
    """Take candidates as they finish; off for engines that cannot."""
    stall_timeout_s: Seconds = 60.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.source) == bool(self.url):
            raise ValueError("give either source or url")
        return self


class JudgeSettings(BaseModel):
    """A language model behind an OpenAI-compatible URL that compares two responses."""

    model_config = _STRICT

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
    """With its ``/v1``."""
    model: str = ""
    """Its name at the URL; empty is the judge's own name."""
    api_key: SecretStr = SecretStr("")
    max_tokens: Annotated[int, Field(ge=1)] = 8
    """Of one answer; more only for a model that reasons before it answers."""
    timeout_s: Seconds = 60.0


class ApiKeySettings(BaseModel):
    """One API key: the SHA-256 of its secret (``printf %s SECRET | sha256sum``), its scopes and limits."""

    model_config = _STRICT

    sha256: Sha256
    scopes: frozenset[Scope] = frozenset({Scope.SCORE})
    requests_per_minute: Positive | None = None
    """None is no limit, here and below. Replicas that share a Redis share what a key may use."""
    tokens_per_minute: Positive | None = None
    tokens_per_day: Positive | None = None

    def named(self, name: str) -> ApiKey:
        """As the service takes it."""
        limits = KeyLimits(self.requests_per_minute, self.tokens_per_minute, self.tokens_per_day)
        return ApiKey(name, self.sha256, self.scopes, limits)


class ShadowSettings(BaseModel):
    """Traffic that a model's candidate sees; see `shadow.plan.ShadowPlan`."""

    model_config = _STRICT

    shadow_share: Share = 0.0
    """Of requests that the candidate scores too, without answering."""
    canary_share: Share = 0.0
    """Of requests that the candidate answers, by their first prompt; none of the bulk lane."""
    canary_tenants: frozenset[ModelName] = frozenset()
    """API keys whose requests the candidate answers, all of them."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Probability of stopping a candidate that is no worse."""

    @property
    def plan(self) -> ShadowPlan:
        """As the domain layer takes it."""
        return ShadowPlan(self.shadow_share, self.canary_share, self.canary_tenants, self.alpha)


class Settings(BaseModel):
    """All of it. Times in seconds, sizes in bytes."""

    model_config = _STRICT

    models: dict[ModelName, ModelSettings] = {}
    """By name; none given means the embedded default model."""
    default_model: ModelName | None = None
    """Answers requests that name no model; None is the first of `models`."""
    policies: dict[ModelName, PolicySettings] = {}
    """Language models that best-of-n samples from, by name."""
    judges: dict[ModelName, JudgeSettings] = {}
    """Language models that evaluations of policies may ask which response is better, by name."""
    backend: str = "torch"
    dtype: str = "float32"
    device: str = "cpu"
    devices: tuple[Device, ...] = ()
    """Of models that name neither `device` nor `devices`: an engine process for each of these."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of one forward; None: the back end's choice; of several processes, their part of the cores."""

    host: str = "127.0.0.1"
    """Loopback, because a service without keys is open; ``0.0.0.0`` serves other machines."""
    port: Port = 8080
    """REST; 0 is any free port."""
    grpc_port: Port = 8081
    """gRPC; 0 is any free port."""
    admin_port: Port | None = None
    """REST with the administrators' routes, on a port of its own; 0 is any free one. When this or
    `admin_grpc_port` is given, the main ports have none of them."""
    admin_grpc_port: Port | None = None
    """gRPC with the administrators' methods likewise."""
    admin_host: str | None = None
    """Where the administrators' ports listen; None is `host`."""
    tls_certificate: Path | None = None
    """PEM chain that both transports present; None is plain text."""
    tls_key: Path | None = None
    """Its private key, PEM."""
    tls_client_ca: Path | None = None
    """PEM authorities; given, every caller must present a certificate of theirs (mutual TLS)."""
    drain_timeout_s: Seconds = 30.0
    """How long a stopping service waits for requests under way."""
    dialects: tuple[DialectName, ...] = ()
    """Other servers' wire shapes to answer in as well; of those with one path the first has it."""
    console: bool = True
    """Serve the console, a page for people, at ``/console``."""

    limits: CheckedLimits = Limits()
    cache_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    """Bound of the in-process cache."""
    redis_url: str | None = Field(default=None, repr=False)
    """A Redis that replicas share as their second cache; None is none."""

    state_url: str | None = Field(default=None, repr=False)
    """Database of the registry, evaluations and feedback: ``sqlite:///PATH``, or a ``postgresql://`` that
    replicas share; None keeps them in memory."""
    log_candidates: bool = False
    """Keep the candidates of best-of-n, prompts and responses with their rewards, in the state database for
    ``guerdon data export``."""
    candidates_kept_days: Seconds | None = None
    """How many days they are kept; None keeps them for good."""
    data_folder: Path = Path("data")
    """Where the data sets of evaluations are."""
    model_store: Path | None = None
    """Folder that callers' sources of models must lie in, and that artifacts from URLs are kept in; None: any
    folder of the machine may be named, and no URL."""

    api_keys: dict[ModelName, ApiKeySettings] = {}
    """By name, which is also the tenant; none here and none in the file leaves the service open."""
    api_key_file: Path | None = None
    """More keys, a line each: ``NAME SHA256 SCOPE[,SCOPE] [LIMIT=N]...``; a name may have several."""

    gate: CheckedGatePolicy = GatePolicy()
    """What a version must show before it becomes a champion."""
    shadow: ShadowSettings = ShadowSettings()
    """A candidate's part in live traffic; none by default."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_json: bool = True
    slow_request_s: Seconds | None = None
    """Requests that take at least as long are logged, without their texts; None logs none."""
    otel: bool = False
    """Export traces as the ``OTEL_*`` variables say."""

    @field_validator("limits", mode="before")
    @classmethod
    def _spread_batch_tokens(cls, limits: Any) -> Any:
        """A `max_batch_tokens` that is given alone holds on CUDA as well: who lowers it has little memory."""
        if isinstance(limits, Mapping) and "max_batch_tokens" in limits:
            return {"max_batch_tokens_cuda": limits["max_batch_tokens"], **limits}
        return limits

    @field_validator("limits")
    @classmethod
    def _check_limits(cls, limits: Limits) -> Limits:
        wrong = [f.name for f in fields(limits) if not 0 < getattr(limits, f.name) < inf]
        if wrong:
            raise ValueError(f"{wrong[0]} must be more than 0 and finite")
        return limits

    @model_validator(mode="after")
    def _check_default(self) -> Self:
        if self.models and self.default_model not in {None, *self.models}:
            raise ValueError(f"default_model is {self.default_model}, which is not among models; name one")
        return self

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together; give both or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key; give them, or leave it out")
        return self

    @property
    def has_admin_ports(self) -> bool:
        """Whether administrators have ports of their own."""
        return self.admin_port is not None or self.admin_grpc_port is not None

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """The models to load, ensembles after the members that they need."""
        ordered = sorted(self.models.items(), key=lambda entry: bool(entry[1].members))
        return tuple(self._spec(name, model) for name, model in ordered)

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """The keys given here; `auth.load_keys` adds the file's."""
        return tuple(key.named(name) for name, key in self.api_keys.items())

    def _spec(self, name: str, model: ModelSettings) -> ModelSpec:
        inherited = () if model.device or model.members else self.devices
        return ModelSpec(
            name=name,
            source=model.source,
            backend=model.backend or self.backend,
            dtype=model.dtype or self.dtype,
            device=model.device or self.device,
            devices=inherited if model.devices is None else model.devices,
            members=model.members,
            conservatism=model.conservatism,
        )
