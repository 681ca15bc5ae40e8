# The sidecar as an image: glibc, a numeric user, no package manager or build tool left in the virtual environment,
# nothing that needs a shell. Its root may be read-only; what it writes goes to /data.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm
# The same release with a C compiler: what it builds is left behind with it.
ARG BUILDER=docker.io/library/python:3.11-bookworm

FROM ${BUILDER} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# The locked wheels first: this layer changes only with the lock.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/sidecar \
 && /opt/sidecar/bin/python -m pip install --require-hashes --only-binary :all: -r requirements.lock \
 && python -m venv /opt/build \
 && /opt/build/bin/python -m pip install --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY sidecar sidecar
COPY deploy/native.py deploy/native.py
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheel \
 && /opt/sidecar/bin/python -m pip install --no-deps --no-index /wheel/*.whl \
 && /opt/build/bin/python deploy/native.py --into /opt/sidecar/lib/python3.11/site-packages \
 && /opt/sidecar/bin/python -m pip uninstall --yes setuptools pip \
 && python -m compileall -q -j 0 /opt/sidecar/lib \
 && mkdir /data

FROM ${PYTHON}
LABEL org.opencontainers.image.title="chat-sidecar" \
      org.opencontainers.image.description="A security sidecar for chat backends" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/sidecar /opt/sidecar
COPY --from=build --chown=65532:65532 /data /data
COPY config/policy.yaml /etc/sidecar/policy.yaml
ENV PATH=/opt/sidecar/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    SIDECAR_POLICY=/etc/sidecar/policy.yaml
USER 65532:65532
WORKDIR /data
# Public and management. The egress listener stays on loopback and is never exposed.
EXPOSE 8080 9090
# No HEALTHCHECK: a new interpreter every few seconds costs more than the sidecar itself.
# /livez and /readyz on the management listener are for the orchestrator's own probes.
ENTRYPOINT ["python", "-m", "sidecar"]
CMD ["run"]
