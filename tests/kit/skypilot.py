"""A task of SkyPilot as far as it is used, by hand from the schema of 0.14; other fields are refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Least = Annotated[str, StringConstraints(pattern=r"^\d+\+$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Recovery(Strict):
    max_restarts_on_errors: Annotated[int, Field(ge=0)]


class Resources(Strict):
    image_id: Annotated[str, StringConstraints(pattern=r"^docker:\S+$")]
    cpus: Least
    memory: Least
    use_spot: bool
    job_recovery: Recovery
    accelerators: Annotated[str, StringConstraints(pattern=r"^[\w-]+:\d+$")] | None = None


class SkyTask(Strict):
    name: str
    num_nodes: Annotated[int, Field(ge=1)]
    resources: Resources
    envs: dict[Variable, str]
    secrets: dict[Variable, None]
    run: str
