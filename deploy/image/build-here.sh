#!/usr/bin/env bash
# Builds the image for real where there is no Docker engine and no image registry, and lays its
# file system out so that it can be run in a chroot. Needs root, and Debian's buildah and debootstrap.
#
#   deploy/image/build-here.sh FOLDER     # FOLDER/rootfs, FOLDER/image.json
#
# The base is a Debian of our own making under the official base's name: same distribution release,
# same Python minor version, another path to it (/usr/bin instead of /usr/local/bin).
set -euo pipefail

folder=$(mkdir -p "${1:?usage: build-here.sh FOLDER}" && realpath "$1")
cd "$(dirname "$0")/../.."
base=$(sed -n 's/^ARG BASE=//p' Dockerfile)
image=localhost/butie:here

for tool in buildah debootstrap; do
  command -v $tool >/dev/null || { echo "$tool is missing: apt-get install buildah debootstrap" >&2; exit 1; }
done
((EUID == 0)) || { echo "Only root can make a base image." >&2; exit 1; }

# Of this run alone: nothing is left in the machine's own store.
work=$(mktemp -d "$folder/work.XXXXXX")
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot TMPDIR=$work
buildah() { command buildah --root "$work/store" --runroot "$work/run" "$@"; }
finish() {
  buildah umount --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

# From where this machine itself gets Debian, of whichever release: a mirror has them all.
release=${base##*-}
mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI) $(ORIGIN)' \
  'Created-By: Packages' | awk '$1 !~ /-/ && $2 == "main" && $4 == "Debian" && NF == 4 && !seen++ { print $3 }')
[[ $mirror ]] || {
  echo "This machine's apt knows no mirror of Debian: it takes one in its sources, and apt-get update." >&2
  exit 1
}

echo "Making $base out of Debian $release ..."
bootstrap() {
  rm -rf "$work/base"
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
    $release "$work/base" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 20 "$work/debootstrap.log" >&2; return 1; }
}
bootstrap || bootstrap # a mirror may falter once
rm -rf "$work"/base/{var/cache/apt,var/lib/apt/lists,usr/share/doc,usr/share/man,usr/share/locale}/*
container=$(buildah from --pull-never scratch)
buildah copy --quiet "$container" "$work/base" / >/dev/null
buildah commit --quiet --rm "$container" "localhost/$base" >/dev/null
rm -rf "$work/base"

# What this machine needs to reach its package index, if anything; it does not go into the image.
certificates=/etc/ssl/certs/ca-certificates.crt
index=$(python3 -m pip config get global.index-url 2>/dev/null || true)
printf '[global]\nretries = 5\ntimeout = 60\ncert = %s\n%s\n' \
  $certificates "${index:+index-url = $index}" >"$work/pip.conf"

echo "Building the image ..."
build() {
  buildah build --quiet --pull-never --format docker \
    --secret "id=pip,src=$work/pip.conf" --volume "$certificates:$certificates:ro" \
    --tag $image . >"$work/build.log" 2>&1 ||
    { tail -n 30 "$work/build.log" >&2; return 1; }
}
build || build

rm -rf "$folder/rootfs"
container=$(buildah from --pull-never $image)
cp -a "$(buildah mount "$container")" "$folder/rootfs"
buildah inspect --type image $image >"$folder/image.json"
echo "Built: $(du -sm "$folder/rootfs" | cut -f1) MB, of it $(du -sm "$folder/rootfs/opt/butie" | cut -f1) MB ours."
