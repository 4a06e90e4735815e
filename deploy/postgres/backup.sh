#!/usr/bin/env bash
# A base backup a day and the log without a gap, so that any moment since the oldest kept backup
# can be had again (restore.sh).
#
#   backup.sh log     # stream the write-ahead log for ever: what is lost with the disk is seconds
#   backup.sh daily   # a base backup whenever the newest is a day old, for ever
#   backup.sh once    # one base backup now
#
# PGHOST and PGUSER say where and who, PGPASSWORD_FILE holds the password, BACKUPS is the folder,
# KEEP how many base backups stay (7).
set -euo pipefail

backups=${BACKUPS:-/backups}
keep=${KEEP:-7}
slot=butie_backup

# The image starts as root, and a new volume is root's.
if ((EUID == 0)) && command -v gosu >/dev/null; then
  mkdir -p "$backups" && chown postgres "$backups"
  exec gosu postgres "$0" "$@"
fi
if [[ ${PGPASSWORD_FILE:-} ]]; then
  PGPASSWORD=$(cat "$PGPASSWORD_FILE")
  export PGPASSWORD
fi
umask 077
mkdir -p "$backups/log" "$backups/base"

stream_log() {
  # The slot makes the server keep what we have not got yet, should we be away for a while.
  pg_receivewal --directory "$backups/log" --slot $slot --create-slot --if-not-exists
  exec pg_receivewal --directory "$backups/log" --slot $slot --synchronous --no-loop
}

base_backup() {
  # The streamed log first: a backup is worth nothing without the log that was written meanwhile.
  [[ -n $(ls "$backups/log") ]] || { echo "No log is streamed yet (backup.sh log)." >&2; return 1; }
  local name
  name=$(date -u +%Y%m%dT%H%M%SZ)
  rm -rf "$backups"/base/new
  pg_basebackup --pgdata "$backups/base/new" --format tar --gzip --wal-method none \
    --checkpoint fast --no-password
  sync
  mv "$backups/base/new" "$backups/base/$name"
  echo "Base backup $name: $(du -sh "$backups/base/$name" | cut -f1)"
  prune
}

# The newest $keep base backups, and the log from the oldest of them on.
prune() {
  local names=() oldest segment
  mapfile -t names < <(cd "$backups/base" && ls -d ????????T??????Z | sort)
  while ((${#names[@]} > keep)); do
    rm -rf "$backups/base/${names[0]}"
    names=("${names[@]:1}")
  done
  oldest=${names[0]}
  segment=$(tar -xzOf "$backups/base/$oldest/base.tar.gz" backup_label |
    sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/\1/p')
  pg_archivecleanup "$backups/log" "$segment"
}

daily() {
  until [[ -n $(ls "$backups/log") ]]; do sleep 1; done # at first both begin at once
  while true; do
    if [[ -z $(find "$backups/base" -mindepth 1 -maxdepth 1 -name '*Z' -mmin -1440) ]]; then
      base_backup || echo "The base backup failed; trying again in five minutes." >&2
    fi
    sleep 300
  done
}

case ${1:-} in
  log) stream_log ;;
  once) base_backup ;;
  daily) daily ;;
  *) echo "usage: backup.sh log|daily|once" >&2; exit 2 ;;
esac
