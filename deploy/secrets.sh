#!/usr/bin/env bash
# Makes what one box keeps secret, each in a file of its own, and never touches one that is there.
#
#   deploy/secrets.sh [FOLDER [HOST]]     # deploy/secrets unless said otherwise
#
# HOST is where PostgreSQL and Valkey are, unless each has compose's name.
# Keep a copy of pii_key apart from the box: without it nobody's past purchases are recognised.
set -euo pipefail

folder=${1:-$(dirname "$0")/secrets}
postgres_host=${2:-postgres} valkey_host=${2:-valkey}
umask 077
mkdir -p "$folder"
cd "$folder"

# Each container's user reads the files that it is given, and nobody else does. Without root we
# cannot give them away: then the closed folder alone keeps them.
butie=10001 postgres=999 grafana=472
keep() { # NAME USER, from standard input
  if [[ -s $1 ]]; then cat >/dev/null; else cat >"$1"; fi
  if ((EUID == 0)); then chown "$2" "$1" && chmod 400 "$1"; else chmod 444 "$1"; fi
}
random() { od -An -v -tx1 -N 24 /dev/urandom | tr -d ' \n'; }

for name in postgres_password owner_password service_password backup_password redis_password; do
  random | keep $name $postgres # Valkey's container runs as the same number
done
random | keep grafana_password $grafana
random | keep pii_key $butie
printf 'postgresql://butie_owner:%s@%s:5432/butie' "$(cat owner_password)" "$postgres_host" | keep owner_database_url $butie
printf 'postgresql://butie_service:%s@%s:5432/butie' "$(cat service_password)" "$postgres_host" | keep service_database_url $butie
printf 'redis://:%s@%s:6379/0' "$(cat redis_password)" "$valkey_host" | keep redis_url $butie
echo "The secrets are in $(pwd)."
