# In namespaces of its own: starts systemd with the units of the folder $1, and nothing else.
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/systemd/system
cp -r "$1"/. /run/systemd/system/
export container=shim-test
exec /lib/systemd/systemd --system --unit=waits.service --log-target=console --show-status=no
