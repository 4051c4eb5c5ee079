"""Shapes of the registry, for the OpenAPI document alone: `registry_wire.py` reads and writes them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


def _config(example: dict[str, JsonValue]) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})


class RegisterRequest(BaseModel):
    """An artifact to store as a version of the name."""

    model_config = _config({"source": "path/to/artifact"})
    source: str = Field(description="A folder on the service's machine, or a URL, of an artifact.")


class PromoteRequest(BaseModel):
    """A version to point an alias at."""

    model_config = _config({"version": "2", "evaluation_id": "0123456789abcdef"})
    version: str
    alias: str | None = Field(None, description="champion.")
    evaluation_id: str | None = Field(
        None, description="A finished evaluation of this version against the current one."
    )
    override_reason: str | None = Field(
        None, description="Promote although the gate refuses; the reason is kept."
    )


class RollbackRequest(BaseModel):
    """An alias to point back at the version before."""

    model_config = _config({"reason": "more refusals than before"})
    reason: str = Field(description="Why; it is kept.")
    alias: str | None = Field(None, description="champion.")


class RemoveAliasRequest(BaseModel):
    """An alias to take away."""

    model_config = _config({"alias": "candidate", "reason": "its training data leaked"})
    alias: str = Field(description="Any but champion, which a name without a version means.")
    reason: str = Field(description="Why; it is kept.")


class ModelVersion(BaseModel):
    """One immutable version."""

    name: str
    version: str
    digest: str
    kind: Literal["reward", "policy"]
    source: str
    registered_by: str
    registered_at: float = Field(description="Unix seconds.")
    parents: dict[str, Any] = Field(description="Lineage: data, config, base and git revision.")


class RegisteredModel(BaseModel):
    """A name of the registry, loaded or not."""

    name: str
    kind: Literal["reward", "policy"]
    aliases: dict[str, str] = Field(description="Version by alias.")


class RegisteredModelList(BaseModel):
    """Every registered name, in alphabetical order."""

    models: list[RegisteredModel]


class GateCheck(BaseModel):
    """One question of the gate."""

    name: str
    passed: bool | None = Field(description="Null: not asked, and `detail` says why.")
    detail: str


class AliasChange(BaseModel):
    """An alias moved, by whom, on what evidence."""

    name: str
    alias: str
    action: Literal["register", "promote", "override", "rollback", "remove", "stop"]
    previous: str | None
    version: str = Field(description="Where the alias stands now; where it stood, when it was removed.")
    by: str
    at: float = Field(description="Unix seconds.")
    reason: str
    evaluation_id: str | None
    checks: list[GateCheck]


class ModelHistory(BaseModel):
    """All that the registry knows of one name; oldest first."""

    name: str
    versions: list[ModelVersion]
    aliases: dict[str, str] = Field(description="Version by alias.")
    changes: list[AliasChange]
