#!/bin/sh
# Run by the PostgreSQL image when its volume is empty.
set -eu
secrets=${SECRETS:-/run/secrets}
psql --no-psqlrc --username postgres --dbname postgres \
  -v owner_password="$(cat "$secrets/owner_password")" \
  -v service_password="$(cat "$secrets/service_password")" \
  -v backup_password="$(cat "$secrets/backup_password")" \
  -f "${ROLES:-/etc/butie/roles.sql}"
