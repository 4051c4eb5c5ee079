"""Shape of the audit log on the wire."""

from pydantic import BaseModel, Field


class AdminAct(BaseModel):
    """One call of an administrators' verb."""

    at: float = Field(description="Unix seconds.")
    by: str = Field(description="Name of the API key.")
    act: str = Field(description="The verb, as metrics name it.")
    outcome: str = Field(description="`ok`, or the error's code.")
    transport: str = Field(description="`rest` or `grpc`.")
    request_id: str
    detail: dict[str, str] = Field(description="What was asked for, field by field.")


class AuditLog(BaseModel):
    """The newest acts, newest first."""

    acts: list[AdminAct]
