"""The image that the other manifests name: a checkout of prunefront with the versions of its lock."""

from __future__ import annotations

from importlib.metadata import version

from pipeline.driver.cluster.launch import Launch

PYTHON = "3.11"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


def text(launch: Launch) -> str:
    """Return the Dockerfile, which is built in a checkout.

    `prunefront cluster dockerfile | docker build -t IMAGE -f - .`
    """
    wheels = "" if launch.nodes.gpus else f" --extra-index-url {CPU_WHEELS}"
    ray = version("ray")
    return f"""# prunefront cluster dockerfile | docker build -t {launch.image} -f - .   (in a checkout of prunefront)
FROM python:{PYTHON}-slim-bookworm

# wget is what KubeRay's probes call, rsync what Ray's cluster launcher copies with
RUN apt-get update \\
    && apt-get install -y --no-install-recommends wget rsync \\
    && rm -rf /var/lib/apt/lists/* \\
    && useradd --create-home --uid 1000 prunefront

ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
RUN python -m venv /opt/venv

WORKDIR /opt/prunefront
COPY requirements.lock ./
RUN pip install{wheels} --requirement requirements.lock
# the dashboard, which Ray jobs go through: its packages beyond the lock are those that fit the lock
RUN pip install --constraint requirements.lock "ray[default]=={ray}"
COPY pyproject.toml README.md LICENSE ./
COPY pipeline ./pipeline
COPY prunefront ./prunefront
COPY search_spaces ./search_spaces
RUN pip install --no-deps .

USER prunefront
WORKDIR /home/prunefront
CMD ["prunefront", "--help"]
"""
