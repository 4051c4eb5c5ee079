# syntax=docker/dockerfile:1
# The service, without build tools in what runs but for CUDA's gcc.
#   docker build --target cpu --build-arg TORCH_INDEX_URL=<index with CPU builds of torch> -t guerdon:0.1.0 .
#   docker build --target cuda -t guerdon:0.1.0-cuda .
# Runs as user 10001 and writes to /tmp and /data alone: --read-only --tmpfs /tmp (for CUDA /tmp:exec) --volume NAME:/data.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254

FROM ${PYTHON_IMAGE} AS source
ENV PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY .ci/install .ci/install
COPY pyproject.toml README.md ./
COPY protos protos
COPY client client
COPY service service

FROM source AS build-cpu
ARG TORCH_INDEX_URL
RUN .ci/install /opt/guerdon cpu

FROM source AS build-cuda
ARG TORCH_INDEX_URL
RUN .ci/install /opt/guerdon cuda

FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin guerdon \
    && install --directory --owner=10001 --group=10001 /data
ENV PATH=/opt/guerdon/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    GUERDON_HOST=0.0.0.0 \
    GUERDON_DATA_FOLDER=/data
USER 10001:10001
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/ready', timeout=2)"]
ENTRYPOINT ["guerdon"]
CMD ["serve"]

FROM runtime AS cuda
# Triton builds its kernels' launchers when a model is loaded; of gcc a release of Debian has one version.
USER 0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
COPY --from=build-cuda /opt/guerdon /opt/guerdon

FROM runtime AS cpu
COPY --from=build-cpu /opt/guerdon /opt/guerdon
