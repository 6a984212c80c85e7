#!/bin/sh
# The relying party in an image of `shim build`: Python, the service, and a filter; about 100 MB, two minutes.
# What it serves is part of the plan that the launcher measures.  On Debian, from a checkout: image.sh IMAGE
set -eu
library=/usr/lib/python3.11
service=/opt/relying-party
[ -d "$service" ] || python3 -m pip install --quiet --target "$service" '.[serve,serve-postgresql]'
modules=$(find "$service" -name '*.so*' -printf '--modules %h\n' | sort -u)
# Python can make calls by numbers that no analysis bounds (libc's syscall()): those are refused, and it goes on.
# -P: the directory /shim of the image is the launcher's, not the package.
# shellcheck disable=SC2086
exec shim build -o "$1" \
	--modules $library/lib-dynload $modules --include $library --include $service \
	--exclude '*/__pycache__' --exclude '*/test' --exclude "$library/config-*" --exclude "$library/dist-packages" \
	--env PYTHONPATH=$service --env PYTHONDONTWRITEBYTECODE=1 --env PGPASSWORD --env UV_USE_IO_URING=0 --directory /tmp \
	--user 65532:65532 --allow-incomplete --on-violation errno \
	/usr/bin/python3.11 -S -P -c 'from shim.cli.main import main; main()' \
	serve --listen 0.0.0.0:8443 --monitor 0.0.0.0:9090 \
	--database 'postgresql://shim@postgresql/shim?sslmode=verify-full&sslrootcert=/etc/shim/database/ca.crt' \
	--database-key /etc/shim/keys/database-keys --ear-key /etc/shim/keys/token.pem --ear-profile trustee \
	--tls-certificate /etc/shim/tls/tls.crt --tls-key /etc/shim/tls/tls.key \
	--store /var/lib/shim/endorsements --policy web=/etc/shim/policies/web.toml
