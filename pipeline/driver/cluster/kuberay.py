"""KubeRay's RayJob (ray.io/v1): a cluster that is made for the search and removed after it.

Fields are those of KubeRay 1.6's API reference; `authOptions.secretName` came with it.
"""

from __future__ import annotations

import shlex
from importlib.metadata import version
from typing import Any

import yaml

from pipeline.driver.cluster.launch import NODE_ENVIRONMENT, Launch
from pipeline.driver.cluster.secrets import Secret

KEPT_S = 600  # a cluster whose search has ended, for its logs
RETRIES = 2  # of a search whose head was lost: the new one goes on where it was
HEAD = {"cpu": "2", "memory": "8Gi"}
USER = 1000  # of the image that `dockerfile` makes
# Taints and labels of spot nodes, as clouds set them.
SPOT_TAINTS = (("cloud.google.com/gke-spot", "true"), ("kubernetes.azure.com/scalesetpriority", "spot"))
SPOT_LABELS = (
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("karpenter.sh/capacity-type", "spot"),
)

Tree = dict[str, Any]


def text(launch: Launch) -> str:
    """Return the manifest, for `kubectl apply -f -`."""
    keys = " ".join(f"--from-literal={s.key}=…" for s in (launch.ray_token, *launch.driver_secrets))
    space = f" -n {launch.namespace}" if launch.namespace else ""
    head = f"# Once, with your own values:  kubectl create secret generic {launch.secret}{space} {keys}\n"
    return head + str(yaml.safe_dump(tree(launch), sort_keys=False, width=110))


def tree(launch: Launch) -> Tree:
    """Return the manifest as a tree."""
    metadata: Tree = {"name": launch.name, "labels": {"app.kubernetes.io/name": "prunefront"}}
    if launch.namespace:
        metadata["namespace"] = launch.namespace
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata,
        "spec": {
            "entrypoint": shlex.join(launch.command),
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": KEPT_S,
            "backoffLimit": RETRIES,
            "rayClusterSpec": {
                "rayVersion": version("ray"),
                "authOptions": {"mode": "token", "secretName": launch.secret},
                "headGroupSpec": _head(launch),
                "workerGroupSpecs": [_workers(launch)],
            },
        },
    }


def _head(launch: Launch) -> Tree:
    """Return the driver's node; no trials run there, so that no trial can take it down."""
    ports = [("gcs-server", 6379), ("dashboard", 8265), ("client", 10001)]
    container = _container(launch, "ray-head", HEAD, launch.driver_secrets)
    container["ports"] = [{"name": name, "containerPort": port} for name, port in ports]
    return {
        "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
        "template": {"spec": _pod(launch, container)},
    }


def _workers(launch: Launch) -> Tree:
    nodes = launch.nodes
    resources = {"cpu": str(nodes.cpus), "memory": f"{nodes.memory_gb}Gi"}
    if nodes.gpus:
        resources["nvidia.com/gpu"] = str(nodes.gpus)
    pod = _pod(launch, _container(launch, "ray-worker", resources, launch.worker_secrets))
    if nodes.spot:
        pod |= _spot()
    return {
        "groupName": "trials",
        "replicas": nodes.count,
        "minReplicas": nodes.count,
        "maxReplicas": nodes.count,
        "rayStartParams": {},
        "template": {"spec": pod},
    }


def _pod(launch: Launch, container: Tree) -> Tree:
    volumes: list[Tree] = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    if launch.volume_claim:
        volumes.append({"name": "store", "persistentVolumeClaim": {"claimName": launch.volume_claim}})
    return {
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "fsGroup": USER},
        "containers": [container],
        "volumes": volumes,
    }


def _container(launch: Launch, name: str, resources: dict[str, str], secrets: tuple[Secret, ...]) -> Tree:
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}]  # Ray's object store
    environment = dict(NODE_ENVIRONMENT)
    if launch.in_objects and launch.endpoint:
        environment["AWS_ENDPOINT_URL"] = launch.endpoint
    if launch.volume_claim:
        mounts.append({"name": "store", "mountPath": str(launch.search.store)})
    return {
        "name": name,
        "image": launch.image,
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            *(_reference(launch, secret) for secret in secrets),
        ],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }


def _reference(launch: Launch, secret: Secret) -> Tree:
    key: Tree = {"name": launch.secret, "key": secret.key}
    if not secret.needed:
        key["optional"] = True
    return {"name": secret.variable, "valueFrom": {"secretKeyRef": key}}


def _spot() -> Tree:
    """Return what allows and prefers spot nodes."""
    return {
        "tolerations": [
            {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
            for key, value in SPOT_TAINTS
        ],
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "preference": {
                            "matchExpressions": [{"key": key, "operator": "In", "values": [value]}]
                        },
                    }
                    for key, value in SPOT_LABELS
                ]
            }
        },
    }
