# ruff: noqa: N815 (Kubernetes names its fields so)
"""RayJob (ray.io/v1) as far as it is used, by hand from KubeRay 1.6's API reference; other fields are refused.

No registry that is reached here carries the CRD itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
Quantity = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?(m|[KMGT]i?)?$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SecretKey(Strict):
    name: Name
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$")]
    optional: bool = False


class ValueFrom(Strict):
    secretKeyRef: SecretKey


class Env(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
    value: str | None = None
    valueFrom: ValueFrom | None = None


class Port(Strict):
    name: Annotated[str, StringConstraints(max_length=15)]
    containerPort: Annotated[int, Field(ge=1, le=65535)]


class Resources(Strict):
    requests: dict[str, Quantity]
    limits: dict[str, Quantity]


class Mount(Strict):
    name: Name
    mountPath: Annotated[str, StringConstraints(pattern=r"^/")]


class Capabilities(Strict):
    drop: list[str]


class ContainerSecurity(Strict):
    allowPrivilegeEscalation: Literal[False]
    capabilities: Capabilities


class Container(Strict):
    name: Name
    image: str
    env: list[Env]
    resources: Resources
    securityContext: ContainerSecurity
    volumeMounts: list[Mount]
    ports: list[Port] = []


class EmptyDir(Strict):
    medium: Literal["Memory"]


class Claim(Strict):
    claimName: Name


class Volume(Strict):
    name: Name
    emptyDir: EmptyDir | None = None
    persistentVolumeClaim: Claim | None = None


class PodSecurity(Strict):
    runAsNonRoot: Literal[True]
    runAsUser: Annotated[int, Field(gt=0)]
    fsGroup: int


class Toleration(Strict):
    key: str
    operator: Literal["Equal", "Exists"]
    value: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Pod(Strict):
    securityContext: PodSecurity
    containers: list[Container]
    volumes: list[Volume]
    tolerations: list[Toleration] = []
    affinity: dict[Literal["nodeAffinity"], dict[str, Any]] = {}


class Template(Strict):
    spec: Pod


class Head(Strict):
    rayStartParams: dict[str, str]
    template: Template


class Workers(Head):
    groupName: Name
    replicas: int
    minReplicas: int
    maxReplicas: int


class Auth(Strict):
    mode: Literal["token", "disabled"]
    secretName: Name


class Cluster(Strict):
    rayVersion: str
    authOptions: Auth
    headGroupSpec: Head
    workerGroupSpecs: list[Workers]


class Spec(Strict):
    entrypoint: str
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: int
    backoffLimit: int
    rayClusterSpec: Cluster


class Metadata(Strict):
    name: Annotated[Name, StringConstraints(max_length=47)]
    labels: dict[str, str]
    namespace: Name | None = None


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: Spec
