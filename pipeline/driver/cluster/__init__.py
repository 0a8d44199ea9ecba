"""Text that launches a search: a Ray job, KubeRay, Ray's cluster launcher, Slurm, Compose, SkyPilot, the image for all.

None of it contains secrets, only where they are read from (environment variables, a Kubernetes Secret, files of the
user's own machine). Ray's token authentication is on in all of them.
"""

from pipeline.driver.cluster.arguments import arguments
from pipeline.driver.cluster.kinds import KINDS, Manifest, manifest
from pipeline.driver.cluster.launch import Launch, Nodes
from pipeline.driver.cluster.study import search_of

__all__ = ["KINDS", "Launch", "Manifest", "Nodes", "arguments", "manifest", "search_of"]
