#!/usr/bin/env bash
# Brings the cluster back from what backup.sh kept: to its last moment, or to an earlier one.
#
#   restore.sh                                # everything that was streamed
#   restore.sh '2025-06-18 10:15:00+08'       # as it stood then
#
# PGDATA is the cluster's folder, with no server running on it; what is in it is moved aside, not
# deleted. BACKUPS is the folder of backup.sh, whose backups are moved into a folder of their own
# when it is done: the restored cluster begins a history of its own, and a new base backup.
set -euo pipefail

backups=${BACKUPS:-/backups}
until=${1:-}
: "${PGDATA:?says where the cluster is}"

if ((EUID == 0)) && command -v gosu >/dev/null; then
  mkdir -p "$PGDATA" && chown postgres "$(dirname "$PGDATA")" "$PGDATA"
  exec gosu postgres "$0" "$@"
fi
umask 077
now=$(date -u +%Y%m%dT%H%M%SZ)

die() {
  echo "$*" >&2
  exit 1
}

base=
limit=$now
[[ $until ]] && { limit=$(date -u -d "$until" +%Y%m%dT%H%M%SZ) || die "'$until' is no instant."; }
for name in $(cd "$backups/base" && ls -d ????????T??????Z 2>/dev/null | sort); do
  [[ $name < $limit ]] && base=$name
done
[[ $base ]] || die "No base backup in $backups/base is older than ${until:-now}."
if [[ -e $PGDATA/postmaster.pid ]]; then
  die "A server runs on $PGDATA, or did not end: stop it, or remove postmaster.pid if it is gone."
fi

echo "Restoring base backup $base, then the log up to ${until:-its end} ..."
if [[ -n $(ls -A "$PGDATA" 2>/dev/null) ]]; then
  aside=$PGDATA.before-$now
  mkdir "$aside"
  find "$PGDATA" -mindepth 1 -maxdepth 1 -exec mv -t "$aside" {} +
  echo "What was there is now in $aside."
fi
mkdir -p "$PGDATA" && chmod 700 "$PGDATA"
tar -xzf "$backups/base/$base/base.tar.gz" -C "$PGDATA"

# A segment that was under way when all ended has the suffix .partial.
restore="cp '$backups/log/%f' '%p' 2>/dev/null || cp '$backups/log/%f.partial' '%p' 2>/dev/null"
socket=$(mktemp -d)
# The recovery has a configuration of its own: the server's may lie elsewhere (Debian's is in /etc,
# compose's on its command line). Nobody reads meanwhile, so its limits need not be the server's.
: >"$socket/postgresql.conf"
options=(-c "config_file=$socket/postgresql.conf" -c "hot_standby=off"
  -c "listen_addresses=" -c "unix_socket_directories=$socket" -c "archive_mode=off"
  -c "restore_command=$restore" -c "recovery_target_timeline=latest"
  -c "recovery_target_action=promote" -c "hba_file=$socket/pg_hba.conf" -c "logging_collector=off")
[[ $until ]] && options+=(-c "recovery_target_time=$until")
echo "local all all trust" >"$socket/pg_hba.conf"
touch "$PGDATA/recovery.signal"

PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
log=$socket/log
postgres -D "$PGDATA" "${options[@]}" >"$log" 2>&1 &
pid=$!
stop() {
  kill -INT $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  rm -rf "$socket"
}
trap stop EXIT
until [[ $(psql -XAtq -h "$socket" -U postgres -d postgres -c 'SELECT pg_is_in_recovery()' 2>/dev/null) == f ]]; do
  kill -0 $pid 2>/dev/null || { tail -n 20 "$log" >&2; die "The recovery did not end well; nothing in $backups was changed."; }
  sleep 0.5
done
grep -E 'recovery stopping|last completed transaction|redo done' "$log" || true
stop
trap - EXIT

used=$backups/until-$now
mkdir "$used"
mv "$backups/base" "$backups/log" "$used/"
echo "Done. Start PostgreSQL, then 'butie audit'. The backups used are kept in $used."
