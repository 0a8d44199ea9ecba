"""A Compose file as far as it is used, by hand from the Compose Specification; other fields are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Duration = Annotated[str, StringConstraints(pattern=r"^\d+(s|m|h)$")]
Bytes = Annotated[str, StringConstraints(pattern=r"^\d+(b|k|m|g)$")]
Mount = Annotated[str, StringConstraints(pattern=r"^[^:$]+:/[^:$]*(:ro)?$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Health(Strict):
    test: list[str]
    interval: Duration
    timeout: Duration
    retries: int


class After(Strict):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Device(Strict):
    driver: str
    count: int
    capabilities: list[str]


class Reservations(Strict):
    devices: list[Device]


class Limits(Strict):
    cpus: str
    memory: Bytes


class Resources(Strict):
    limits: Limits
    reservations: Reservations | None = None


class Deploy(Strict):
    resources: Resources


class Config(Strict):
    source: str
    target: str


class Service(Strict):
    image: str
    init: bool = False
    command: list[str] = Field(default_factory=list)
    environment: dict[str, str | None] = Field(default_factory=dict)
    volumes: list[Mount] = Field(default_factory=list)
    ports: list[str] = Field(default_factory=list)
    healthcheck: Health | None = None
    depends_on: dict[str, After] = Field(default_factory=dict)
    configs: list[Config] = Field(default_factory=list)
    shm_size: Bytes | None = None
    deploy: Deploy | None = None
    restart: Annotated[str, StringConstraints(pattern=r"^(no|always|unless-stopped|on-failure(:\d+)?)$")]
    stop_grace_period: Duration | None = None
    cap_drop: list[str] = Field(default_factory=list)
    security_opt: list[str] = Field(default_factory=list)


class Volume(Strict):
    pass


class Content(Strict):
    content: str


class ComposeFile(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    services: dict[str, Service]
    volumes: dict[str, Volume] = Field(default_factory=dict)
    configs: dict[str, Content] = Field(default_factory=dict)
