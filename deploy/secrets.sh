#!/bin/sh
# Make the secrets of compose.yaml, in deploy/secrets/ or the directory that is named: what is there stays as it is, so running it
# again is harmless.
#
# The directory is its owner's alone. The files in it can be read by anybody who gets at them, since each is mounted into the
# containers that need it, whose users are none of this machine; nobody else gets past the directory.
set -eu
directory=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$directory"
cd "$directory"

random() { # N bytes, as letters and digits that need no quoting anywhere
  head -c "$1" /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_'
}

keep() { # NAME: standard input becomes the file, unless there is one
  [ ! -e "$1" ] || return 0
  cat >".$1"
  chmod 0444 ".$1"
  mv ".$1" "$1"
  echo "made $1"
}

for service in svc-bridge svc-api svc-worker broker-admin grafana-password; do
  random 32 | keep "$service"
done
head -c 567 /dev/urandom | base64 | tr -d '\n' | keep mongo-key # 756 characters; mongod takes 6 to 1024 of the base64 alphabet

if [ ! -e PABAL_MONGO_URL ]; then
  printf 'mongodb://pabal:%s@mongo1:27017,mongo2:27017,mongo3:27017/?replicaSet=pabal&authSource=admin' "$(random 24)" | keep PABAL_MONGO_URL
fi
if [ ! -e PABAL_VALKEY_URL ] || [ ! -e valkey-auth ]; then
  password=$(random 24)
  rm -f PABAL_VALKEY_URL valkey-auth # they go together
  printf 'redis://:%s@valkey:6379/0' "$password" | keep PABAL_VALKEY_URL
  printf 'requirepass %s\n' "$password" | keep valkey-auth
fi
if [ ! -e credentials.json ]; then
  printf '{"admin": {"handle": "admin", "password": "%s", "display_name": "관리자"}}\n' "$(random 18)" | keep credentials.json
fi
