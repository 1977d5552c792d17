# The server for SQLite and PostgreSQL. For a build that is the same for ever, name the base by its digest:
# docker build --build-arg BASE=python:3.13-slim@sha256:… .
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
RUN python -m venv /opt/triage
# Dependencies first: this layer is built anew only where the lock changes.
COPY requirements-server.lock /build/
RUN /opt/triage/bin/pip install --no-cache-dir --no-deps --require-hashes -r /build/requirements-server.lock
COPY pyproject.toml hatch_build.py README.md LICENSE NOTICE config.example.yaml /build/
COPY triage_cli /build/triage_cli
# What `triage --version` names: --build-arg COMMIT=$(git rev-parse --short=12 HEAD)
ARG COMMIT=
RUN TRIAGE_COMMIT=$COMMIT /opt/triage/bin/pip install --no-cache-dir --no-deps /build

FROM ${BASE}
ARG COMMIT=
LABEL org.opencontainers.image.title="triage" \
      org.opencontainers.image.description="Support tickets in, decisions out: store, classify, route and audit" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
RUN groupadd --gid 10001 triage && useradd --create-home --uid 10001 --gid 10001 triage && install -d -o triage -m 0700 /data
COPY --from=build /opt/triage /opt/triage
ENV PATH=/opt/triage/bin:$PATH TRIAGE_DB=/data/triage.db
# A number, since Kubernetes starts no image whose user is a name where no container may be root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# The port of the first process, which may have another command than the one below.
HEALTHCHECK CMD ["python", "-c", "import re, urllib.request as r; found = re.search('--port[=\\0]([0-9]+)', open('/proc/1/cmdline').read()); r.urlopen('http://127.0.0.1:%s/health' % (found[1] if found else 8000), timeout=3)"]
ENTRYPOINT ["triage"]
CMD ["serve", "--host", "0.0.0.0", "--behind-proxy"]
