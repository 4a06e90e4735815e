#!/usr/bin/env bash
# Runs the image that build-here.sh laid out, much as an engine would: its own user without any
# right, its root read-only, /tmp in memory, its environment and no other. Needs root.
#
#   BUTIE_DATABASE_URL=… deploy/image/run-here.sh FOLDER migrate
#   SECRETS=folder deploy/image/run-here.sh FOLDER serve     # the folder is /run/secrets there
#   deploy/image/run-here.sh FOLDER --healthcheck            # the image's own
#
# The network, the processes' numbers and the clock are the machine's.
set -euo pipefail

folder=$(realpath "${1:?usage: run-here.sh FOLDER ARGUMENT…}")
shift

field() { # of the image's configuration, a line each
  python3 - "$folder/image.json" "$1" <<'PYTHON'
import json, sys
config = json.load(open(sys.argv[1]))["Docker"]["config"]
value = config
for step in sys.argv[2].split("."):
    value = value[step]
print(*(value if isinstance(value, list) else [value]), sep="\n")
PYTHON
}

mapfile -t variables < <(field Env)
mapfile -t entrypoint < <(field Entrypoint)
user=$(field User)
if [[ ${1:-} == --healthcheck ]]; then
  mapfile -t entrypoint < <(field Healthcheck.Test | tail -n +2)
  shift
fi
while IFS= read -r name; do
  variables+=("$name=${!name}")
done < <(compgen -e | grep '^BUTIE_' || true)

mkdir -p "$folder/rootfs/run/secrets"
secrets=${SECRETS:+$(realpath "$SECRETS")}
# Mounts of a namespace of its own: they are gone with the process.
exec unshare --mount --propagation private bash -euc '
  root=$1 secrets=$2 user=$3
  shift 3
  mount --bind "$root" "$root"
  mount -o remount,bind,ro "$root"
  mount -t tmpfs -o size=256m,mode=1777 tmpfs "$root/tmp"
  mount --rbind /proc "$root/proc"
  mount --rbind /dev "$root/dev"
  if [[ $secrets ]]; then mount --bind "$secrets" "$root/run/secrets"; fi
  exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups \
    --no-new-privs --bounding-set=-all --inh-caps=-all env -i "$@"
' run-here "$folder/rootfs" "$secrets" "$user" "${variables[@]}" "${entrypoint[@]}" "$@"
