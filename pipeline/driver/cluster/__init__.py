"""A search's launch on a cluster, printed: a Ray job, KubeRay, Ray's cluster launcher, Slurm, the image that all need.

Secrets stand in none of them: what is printed says where they are read from (environment variables, a Kubernetes
Secret, files of the person's own machine). Ray's token authentication is on in all of them.
"""

from pipeline.driver.cluster.arguments import arguments
from pipeline.driver.cluster.kinds import KINDS, Manifest, manifest
from pipeline.driver.cluster.launch import Launch, Nodes
from pipeline.driver.cluster.study import search_of

__all__ = ["KINDS", "Launch", "Manifest", "Nodes", "arguments", "manifest", "search_of"]
