"""The contract between training and serving: `manifest.json` of an artifact folder.

Training writes a manifest, the service reads it; for a plain Hugging Face folder the service infers
one and says what it inferred (`Manifest.inferred`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from sys import float_info
from typing import Any, Literal, get_args

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.errors import InvalidInput

FORMAT = "guerdon/1"

Kind = Literal["reward", "policy"]
Encoding = Literal["template", "pair", "completion"]
Pooling = Literal["model", "last", "response"]
MIN_TOKENS = 8
"""Of `max_tokens`: less holds no conversation."""
RESPONSE_MAX_WEIGHT = 0.5
"""Weight of the maximum beside the mean in the pooling ``response``: of 0.5, 1 and 2 the one that did best
in cross-validation on the default model's train pairs."""


@dataclass(frozen=True, slots=True)
class Norm:
    """Affine normalisation of one head: ``(raw - mean) / std``."""

    mean: float = 0.0
    std: float = 1.0


@dataclass(frozen=True, slots=True)
class Head:
    """One output of the model. Heads that share an `attribute` are members of an ensemble."""

    name: str
    attribute: str
    norm: Norm = field(default_factory=Norm)


@dataclass(frozen=True, slots=True)
class Profile:
    """Named weights over attributes; `conservatism` is k in mean - k * std."""

    weights: Mapping[str, float]
    conservatism: float = 0.0


@dataclass(frozen=True, slots=True)
class PackageBase:
    """Base weights that an installed Python package carries, pinned by their SHA-256."""

    package: str
    subfolder: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class ImplicitReward:
    """``beta (log policy(response | prompt) - log reference(response | prompt))``.

    Known up to a constant per prompt: Rafailov et al. (arXiv 2305.18290, eq. 5). Log-probabilities are sums
    over the response's tokens, its EOS included, or means where `per_token`. The reference is the artifact's
    base; the policy is the base with ``adapter/``, or the weights in ``policy/``.
    """

    beta: float
    per_token: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `manifest.json` says.

    encoding: ``template`` renders the chat template; ``pair`` is ``tokenizer(prompt, response)``;
        ``completion`` is what a policy reads and writes: the template with its generation prompt, then the
        response up to its EOS, which is added where the template writes none.
    pooling: ``model`` pools the token that `transformers` pools (with pad == eos, the one before the
        EOS); ``last`` pools the last token of the sequence; ``response`` the mean of the response's
        tokens, from the first after the prompt to the end, plus `RESPONSE_MAX_WEIGHT` of their maximum,
        channel by channel.
    num_layers: layers of the base's trunk that are run, from the first; None is all of them.
    template: Jinja chat template that replaces the tokenizer's; None keeps it.
    implicit: given, there is no head, and the one raw score is this.
    """

    name: str
    version: str
    heads: tuple[Head, ...]
    profiles: Mapping[str, Profile]
    max_tokens: int
    kind: Kind = "reward"
    digest: str = ""
    encoding: Encoding = "template"
    pooling: Pooling = "model"
    num_layers: int | None = None
    template: str | None = None
    implicit: ImplicitReward | None = None
    base: PackageBase | None = None
    calibration: Calibration = field(default_factory=Calibration)
    parents: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    inferred: tuple[str, ...] = ()
    format: str = FORMAT

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attribute names in head order, each once."""
        return tuple(dict.fromkeys(h.attribute for h in self.heads))

    def profile(self, name: str | None) -> tuple[str, Profile]:
        """The named profile, or the first one for None.

        Raises:
            InvalidInput: no such profile.
        """
        chosen = name if name is not None else next(iter(self.profiles))
        if chosen not in self.profiles:
            raise InvalidInput(
                f"profile {chosen!r} is not defined by model {self.name}; use one of "
                f"{', '.join(self.profiles)}",
                param="profile",
            )
        return chosen, self.profiles[chosen]


def to_json(manifest: Manifest) -> str:
    """Serialise in the order of the fields; profiles keep theirs, the first being the default."""
    return json.dumps(asdict(manifest), indent=2) + "\n"


def from_json(text: str) -> Manifest:
    """Parse and check.

    Raises:
        InvalidInput: not JSON, unknown or missing fields, another format, or values out of range.
    """
    try:
        data = json.loads(text)
        known = dict(
            data,
            heads=tuple(Head(**dict(h, norm=Norm(**h.get("norm", {})))) for h in data["heads"]),
            profiles={k: Profile(**v) for k, v in data["profiles"].items()},
            implicit=ImplicitReward(**data["implicit"]) if data.get("implicit") else None,
            base=PackageBase(**data["base"]) if data.get("base") else None,
            calibration=Calibration(**data.get("calibration", {})),
            inferred=tuple(data.get("inferred", ())),
        )
        manifest = Manifest(**known)
        check_manifest(manifest)
    except (KeyError, TypeError, AttributeError, ValueError) as err:
        raise InvalidInput(
            f"manifest.json cannot be read ({type(err).__name__}: {err}); write it with guerdon train",
            param="manifest",
        ) from None
    return manifest


def check_manifest(manifest: Manifest) -> None:
    """Refuse a manifest that cannot be served.

    Raises:
        InvalidInput: the offending field is named.
    """
    names = [h.name for h in manifest.heads]
    problems = {
        "format": manifest.format != FORMAT,
        "kind": manifest.kind not in get_args(Kind),
        "encoding": manifest.encoding not in get_args(Encoding),
        "pooling": manifest.pooling not in get_args(Pooling),
        "num_layers": manifest.num_layers is not None
        and not (isinstance(manifest.num_layers, int) and manifest.num_layers >= 1),
        "max_tokens": not (isinstance(manifest.max_tokens, int) and manifest.max_tokens >= MIN_TOKENS),
        "heads": (manifest.kind == "reward" and not names) or len(set(names)) != len(names),
        "heads.norm": not all(_finite(h.norm.mean, h.norm.std) and h.norm.std > 0 for h in manifest.heads),
        "profiles": (manifest.kind == "reward" and not manifest.profiles)
        or any(set(p.weights) - set(manifest.attributes) for p in manifest.profiles.values())
        or not all(_finite(p.conservatism, *p.weights.values()) for p in manifest.profiles.values()),
        "implicit": manifest.implicit is not None
        and not (
            manifest.kind == "reward"
            and len(names) == 1
            and manifest.encoding == "completion"
            and _finite(manifest.implicit.beta)
            and manifest.implicit.beta > 0
        ),
        "calibration": not _can_calibrate(manifest.calibration),
    }
    for name, wrong in problems.items():
        if wrong:
            raise InvalidInput(f"manifest.{name} is missing or out of range", param=f"manifest.{name}")


def _can_calibrate(calibration: Calibration) -> bool:
    if not (_finite(calibration.slope, calibration.slope_se) and isinstance(calibration.num_pairs, int)):
        return False
    return calibration.slope > 0 and calibration.slope_se >= 0 and calibration.num_pairs >= 0


def _finite(*values: object) -> bool:
    """Whether each is a number that a float holds: JSON may have text in its place, or 400 digits."""
    return all(isinstance(value, int | float) and abs(value) <= float_info.max for value in values)
