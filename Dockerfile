# One image for every process of Pabal; its command says which (`docker run pabal broker`, see deploy/image/process).
#
# It has what requirements/image.txt locks and nothing else: no compiler, no development tool, no pip, and no mongod, which is under
# the SSPL. It builds with BuildKit and without.

FROM python:3.11-slim-bookworm AS builder
WORKDIR /build
RUN python -m venv /opt/pabal
# Wheels only, by their hashes: nothing is compiled, and nothing comes in that the lock does not name.
COPY requirements/image.txt requirements/build.txt requirements/
RUN /opt/pabal/bin/pip install --no-cache-dir --no-compile --no-deps --only-binary :all: --require-hashes -r requirements/image.txt \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY chat chat
COPY mqtt mqtt
COPY adapters adapters
COPY broker broker
COPY bridge bridge
COPY api api
COPY workers workers
COPY clients clients
COPY stack stack
COPY bench/__init__.py bench/__init__.py
# Compiled here, since the file system of a running container is read-only; pip has done its work and goes.
RUN /opt/build/bin/hatchling build -t wheel -d dist \
 && /opt/pabal/bin/pip install --no-cache-dir --no-compile --no-deps --no-index dist/*.whl \
 && /opt/pabal/bin/pip uninstall --quiet --yes pip setuptools \
 && /opt/pabal/bin/python -m compileall -q -j 0 /opt/pabal/lib

FROM python:3.11-slim-bookworm
# The directories are made here so that named volumes on them are theirs from the first start.
RUN groupadd --system --gid 10001 pabal \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pabal \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/pabal /var/lib/pabal/keys /var/lib/pabal/public /var/lib/pabal/broker \
      /var/lib/pabal/fcm
COPY --from=builder /opt/pabal /opt/pabal
COPY deploy/image/process deploy/image/healthy /usr/local/bin/
ENV PATH=/opt/pabal/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PABAL_LOG_FORMAT=json \
    PABAL_API_BIND=0.0.0.0:8080 \
    PABAL_BROKER_TCP=0.0.0.0:1883 \
    PABAL_BROKER_WS=0.0.0.0:8083 \
    PABAL_BROKER_HTTP=0.0.0.0:9101 \
    PABAL_BROKER_STATE=/var/lib/pabal/broker \
    PABAL_BRIDGE_HTTP=0.0.0.0:9102 \
    PABAL_WORKER_HTTP=0.0.0.0:9103 \
    PABAL_WORKER_STATE_DIR=/tmp/worker \
    PABAL_KEYS_DIR=/var/lib/pabal/keys/signing \
    PABAL_CA_DIR=/var/lib/pabal/keys/ca \
    PABAL_JWKS_FILE=/var/lib/pabal/public/jwks.json
USER 10001:10001
WORKDIR /tmp
EXPOSE 1883 8080 8083 9101 9102 9103
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["healthy"]
ENTRYPOINT ["process"]
