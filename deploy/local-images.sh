#!/usr/bin/env bash
# For machines that can't reach a registry of images: make stand-ins under the names that Dockerfile and compose.yaml use, so that
# `docker-compose build` and `up` work as they are. They hold what Debian packages, and the mongod and Valkey that `make up` runs.
#
#   make .venv/stack.stamp && sudo deploy/local-images.sh        (needs debootstrap, and an engine; DOCKER_HOST says which)
#
# For development and tests, and never to be published: mongod is under the SSPL. Users, paths and programs are those of the real
# images as far as compose.yaml uses them. What is there already is left alone; FORCE=1 makes all of them anew.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
SUITE=bookworm
BASE=pabal-local/debian:$SUITE
TRUST=/etc/ssl/certs/ca-certificates.crt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

missing() { [ -n "${FORCE:-}" ] || ! docker image inspect "$1" >/dev/null 2>&1; }

make_image() { # NAME: a Dockerfile on standard input, with $work/context beside it
  echo "making $1"
  cat >"$work/context/Dockerfile"
  docker build --quiet --tag "$1" "$work/context" >/dev/null
  rm -rf "$work/context" && mkdir "$work/context"
}

find_program() { "$PYTHON" -c "from stack import servers; print(servers.find_$1())"; }

mkdir "$work/context"

if missing "$BASE"; then
  echo "making $BASE"
  debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$work/base" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
  rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/* "$work"/base/usr/share/{doc,man,locale}/*
  # Whom this machine trusts, they trust: a network may have certificates of its own. pip brings its own list unless it is told.
  cp "$TRUST" "$work/base$TRUST"
  tar -C "$work/base" -c . | docker import --change "ENV PIP_CERT=$TRUST" --change 'ENV LANG=C.UTF-8' --change 'CMD ["bash"]' - "$BASE" >/dev/null
fi

if missing python:3.11-slim-bookworm; then
  make_image python:3.11-slim-bookworm <<EOF
FROM $BASE
RUN apt-get update -q && apt-get install -q -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/* \
 && ln -s /usr/bin/python3 /usr/local/bin/python
EOF
fi

if missing mongo:6.0; then
  cp "$(find_program mongod)" "$work/context/mongod"
  make_image mongo:6.0 <<EOF
FROM $BASE
RUN apt-get update -q && apt-get install -q -y --no-install-recommends libcurl4 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 999 mongodb && useradd --uid 999 --gid 999 --home-dir /data/db mongodb \
 && install -d -o 999 -g 999 /data/db /data/configdb
COPY mongod /usr/bin/mongod
EOF
fi

if missing valkey/valkey:9.1; then
  cp "$(find_program valkey)" "$work/context/valkey-server"
  make_image valkey/valkey:9.1 <<EOF
FROM $BASE
RUN groupadd --gid 999 valkey && useradd --uid 999 --gid 999 --home-dir /data valkey && install -d -o 999 -g 999 /data
COPY valkey-server /usr/local/bin/valkey-server
EOF
fi

if missing haproxy:2.6; then
  make_image haproxy:2.6 <<EOF
FROM $BASE
RUN apt-get update -q && apt-get install -q -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
EOF
fi

if missing prom/prometheus:v2.42.0; then
  make_image prom/prometheus:v2.42.0 <<EOF
FROM $BASE
RUN apt-get update -q && apt-get install -q -y --no-install-recommends prometheus wget && rm -rf /var/lib/apt/lists/* \
 && install -d -o 65534 -g 65534 /prometheus
EOF
fi

if missing prom/alertmanager:v0.25.0; then
  make_image prom/alertmanager:v0.25.0 <<EOF
FROM $BASE
RUN apt-get update -q && apt-get install -q -y --no-install-recommends prometheus-alertmanager wget && rm -rf /var/lib/apt/lists/* \
 && ln -s /usr/bin/prometheus-alertmanager /usr/local/bin/alertmanager && install -d -o 65534 -g 65534 /alertmanager
EOF
fi
