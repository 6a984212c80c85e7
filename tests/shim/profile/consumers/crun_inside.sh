# In a mount namespace of its own, because crun wants a fresh cgroup hierarchy: runs the bundle $1 as $2.
set -e
mount --make-rprivate /
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec crun --root "$1/state" run --bundle "$1" "$2"
