# shellcheck shell=bash disable=SC2154
# What the checks with containers share; it is sourced after deploy/tools.sh. Each runs in network and
# mount namespaces of its own, so that an engine's bridges and rules go away with it.

# Starts this script anew in namespaces of its own; where that cannot be, says so and ends it.
apart() { # SCRIPT ARGUMENT…
  [ -z "${BEARERD_CHECK_APART:-}" ] || {
    unset BEARERD_CHECK_APART
    ip link set lo up
    return
  }
  if [ "$(id -u)" = 0 ] && has unshare && has ip && unshare -n -m --propagation private true; then
    exec env BEARERD_CHECK_APART=1 unshare -n -m --propagation private "$@"
  fi
  skip 'containers need root here, and namespaces of their own' || true
  echo "no container can run here; $skipped skipped"
  exit 0
}

# Lets podman keep all that it has below a directory.
podman_home() { # DIRECTORY
  export CONTAINERS_CONF=$1/containers.conf CONTAINERS_STORAGE_CONF=$1/storage.conf TMPDIR=$1
  mkdir "$1/graph" "$1/run"
  # A machine without systemd, whose limits may be lower than podman's wishes.
  cat >"$CONTAINERS_CONF" <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
CONF
  cat >"$CONTAINERS_STORAGE_CONF" <<CONF
[storage]
driver = "overlay"
graphroot = "$1/graph"
runroot = "$1/run"
CONF
}

# A key for the emulated issuer, and the same as a mounted Secret, as the kubelet makes it.
make_key() { # DIRECTORY
  local id=6ac84721-a7ba-4034-9c39-41ef7b38819d secret=not-a-secret
  mkdir "$1/issuer" "$1/secret"
  printf '{"key_id": "%s", "key_secret": "%s"}' $id $secret >"$1/issuer/key.json"
  mkdir "$1/secret/..2026"
  printf %s $id >"$1/secret/..2026/key_id"
  printf %s $secret >"$1/secret/..2026/key_secret"
  ln -s ..2026 "$1/secret/..data"
  ln -s ..data/key_id "$1/secret/key_id"
  ln -s ..data/key_secret "$1/secret/key_secret"
  chmod 600 "$1/issuer/key.json"
  chmod 440 "$1"/secret/..2026/*
  chown -R 65532:65532 "$1/issuer"
  chown -R 0:2000 "$1/secret"
  chmod 3777 "$1/secret"
}

# The image from scratch has no libraries.
has_static_busybox() {
  has busybox || return 1
  ! ldd "$(command -v busybox)" 2>/dev/null | grep -q '=>' || skip 'busybox is not static'
}

# A program that knows nothing but the socket: it writes down that it has been served.
app_image() { # DIRECTORY BINARY
  mkdir "$1/app"
  cp "$2" "$1/app/bearerd"
  cp "$(command -v busybox)" "$1/app/busybox"
  cat >"$1/app/Containerfile" <<'IMAGE'
FROM scratch
COPY busybox bearerd /bin/
CMD ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; until /bin/bearerd token >/dev/null; do /bin/busybox sleep 1; done; echo served; /bin/busybox sleep 600 & wait"]
IMAGE
}
