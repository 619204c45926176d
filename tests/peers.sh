#!/usr/bin/env bash
# Programs of others that tests talk to: Mosquitto and its clients (interoperability, differential tests, benchmark), curl (the README),
# RabbitMQ (which asks our auth hooks), Prometheus and Alertmanager (which watch a stack). Tests start these by themselves, never as services
# of the system.
# Root on Debian gets what is missing; elsewhere the tests that need it are skipped, or fail where CI is set.
set -euo pipefail

missing=()
[ -x /usr/sbin/mosquitto ] || command -v mosquitto >/dev/null || missing+=(mosquitto)
command -v mosquitto_pub >/dev/null || missing+=(mosquitto-clients)
command -v curl >/dev/null || missing+=(curl)
[ -d /usr/lib/rabbitmq ] || missing+=(rabbitmq-server)
command -v promtool >/dev/null || missing+=(prometheus)
command -v amtool >/dev/null || missing+=(prometheus-alertmanager)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q
    # Debian would start them as services; who has no policy of their own gets one that says no, for as long as this takes.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
      printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
      chmod +x /usr/sbin/policy-rc.d
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
  else
    echo "not installed: ${missing[*]}; the tests that need them are skipped" >&2
  fi
fi

# MQTT.js is a peer too; its node 20 is in no Debian before 13, so it is used where it is and not installed.
command -v node >/dev/null || echo 'no node here: the tests with MQTT.js will be skipped' >&2
