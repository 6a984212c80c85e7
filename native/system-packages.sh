#!/bin/sh
# Install the Debian packages that are missing, where that is allowed; else name them and the command to type.
# usage: system-packages.sh [--optional] PACKAGE...
# --optional: only some examples and tests have less to work on without them, so nothing fails.
set -eu
optional=
[ "${1:-}" != --optional ] || { optional=yes && shift; }
: "${PYTHON:=python3}"

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	echo "shim: $PYTHON: found no Python 3.11 or later, want one: apt install python3, or make PYTHON=/path/to/python3.12" >&2
	exit 1
fi

have() {
	case $1 in
	gcc | make) command -v "$1" >/dev/null ;;
	libc6-dev) echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 ;;
	musl-tools) command -v musl-gcc >/dev/null ;;
	python3-venv) "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ;;
	python3-dev) test -e "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ;;
	cpio | swtpm | runc | umoci | skopeo | spin | buildah | podman | crun | mmdebstrap) command -v "$1" >/dev/null ;;
	postgresql) for program in /usr/lib/postgresql/*/bin/initdb; do test -x "$program"; done ;;
	libarchive-tools) command -v bsdtar >/dev/null ;;
	diffoscope-minimal) command -v diffoscope >/dev/null ;;
	gdisk) command -v sgdisk >/dev/null ;;
	dosfstools) test -x /usr/sbin/fsck.vfat ;;
	mtools) command -v mcopy >/dev/null ;;
	qemu-utils) command -v qemu-img >/dev/null ;;
	ovmf) test -d /usr/share/OVMF ;;
	systemd-boot-efi) test -e /usr/lib/systemd/boot/efi/linuxx64.efi.stub ;;
	libsodium-dev) echo '#include <sodium.h>' | gcc -E - >/dev/null 2>&1 ;;
	swtpm-tools) command -v swtpm_setup >/dev/null ;;
	tpm2-tools) command -v tpm2_checkquote >/dev/null ;;
	qemu-system-x86) command -v qemu-system-x86_64 >/dev/null ;;
	linux-image-cloud-amd64) for kernel in /boot/vmlinuz-*; do test -e "$kernel"; done ;;
	busybox-static) test -x /usr/bin/busybox && ! ldd /usr/bin/busybox >/dev/null 2>&1 ;;
	*) echo "shim: no check for the package $1" >&2 && exit 1 ;;
	esac
}

missing=
for package in "$@"; do
	have "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# shellcheck disable=SC2086 # one word per package
install() { $1 env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; }
echo "shim: installing$missing"
if command -v apt-get >/dev/null; then
	if [ "$(id -u)" = 0 ]; then
		install "" >/dev/null 2>&1 || { apt-get update -q >/dev/null && install "" >/dev/null; } || true
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		install sudo >/dev/null 2>&1 || { sudo apt-get update -q >/dev/null && install sudo >/dev/null; } || true
	fi
fi

failed=
for package in $missing; do
	have "$package" && continue
	if [ -n "$optional" ]; then
		echo "shim: $package is not installed; some examples and tests will be left out: sudo apt install $package" >&2
	else
		failed="$failed $package"
	fi
done
if [ -n "$failed" ]; then
	echo "shim: found no$failed, want them to build; type: sudo apt install$failed" >&2
	exit 1
fi
