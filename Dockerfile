# syntax=docker/dockerfile:1
# friendship-supervisor as a container: docs/deploying.md. What an image is made of is in requirements.lock, by hashes.

ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# pip stays outside of the environment, and with it outside of the image
RUN ["python", "-m", "venv", "--without-pip", "/opt/friendship-supervisor"]
COPY requirements.lock ./
COPY locks/build.lock locks/
# What builds the package is pinned as well, and stays outside of the environment
RUN ["python", "-m", "pip", "install", "--target", "/build/backend", \
     "--require-hashes", "--only-binary", ":all:", "--requirement", "locks/build.lock"]
RUN ["python", "-m", "pip", "--python", "/opt/friendship-supervisor/bin/python", "install", "--compile", \
     "--require-hashes", "--only-binary", ":all:", "--requirement", "requirements.lock"]
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY repository repository
COPY consumer consumer
COPY supervisor supervisor
RUN ["env", "PYTHONPATH=/build/backend", "python", "-m", "pip", "--python", "/opt/friendship-supervisor/bin/python", \
     "install", "--compile", "--no-deps", "--no-build-isolation", "."]

# For trying it out: `docker build --target memory-api`. Standard library only
FROM ${PYTHON_IMAGE} AS memory-api
WORKDIR /srv
COPY scripts/__init__.py scripts/
COPY scripts/servers/__init__.py scripts/servers/memory_modes.py scripts/servers/memory_server.py scripts/servers/
USER 10001:10001
EXPOSE 6699
ENTRYPOINT ["python", "-m", "scripts.servers.memory_server", "--host", "0.0.0.0", "--port", "6699"]

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="friendship-supervisor" \
      org.opencontainers.image.description="Queued conversations to friendship scores, within a memory budget" \
      org.opencontainers.image.licenses="MIT"
# By number, so that Kubernetes can see that it is not root; the name is for libpq, which asks who we are
RUN ["useradd", "--uid", "10001", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", \
     "--shell", "/usr/sbin/nologin", "friendship"]
COPY --from=build /opt/friendship-supervisor /opt/friendship-supervisor
COPY deploy/healthcheck.py /opt/friendship-supervisor/
# The modules were compiled above, and the root directory may be read-only
ENV PATH=/opt/friendship-supervisor/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    FRIENDSHIP_LISTEN=0.0.0.0:9464
USER 10001:10001
WORKDIR /tmp
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "/opt/friendship-supervisor/healthcheck.py"]
ENTRYPOINT ["friendship-supervisor"]
