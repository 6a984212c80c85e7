#!/bin/sh
# The main job from end to end: profile, plan, policy, evidence, appraisal, launch, refusals, image, signature, boot.
set -eu
exec 2>&1 # refusals stand where they happen
here=$(cd "$(dirname "$0")" && pwd)
program=${1:-/usr/bin/busybox}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '\n== %s\n' "$*"; }
run() {
	printf '$ %s\n' "$*"
	status=0
	"$@" || status=$?
}
want() { [ "$status" = "$1" ] || { echo "demo: found exit status $status, want $1" >&2; exit 1; }; }

if ! [ -x "$program" ]; then
	echo "demo: found no $program, want a static program: sudo apt install busybox-static, or demo.sh PROGRAM" >&2
	exit 1
fi

say "What does this machine offer?"
run shim doctor

say "What may $program ask of the kernel? Derived from its machine code, with the reason for every line."
printf '$ shim profile %s | head -12; … | tail -1\n' "$program"
shim profile "$program" >"$work/profile"
head -12 "$work/profile"
echo "…"
tail -1 "$work/profile"

say "The launch plan: filter, digest, arguments. shim-launch needs nothing else."
run shim plan -o "$work/plan" "$program" uname -m
want 0

say "The policy of the simulated machine (a real one: attestation/examples/policy-snp.toml)"
policy=$(python3 -c 'import attestation; print(attestation.__path__[0])')/examples/policy-simulated.toml
head -12 "$policy"

say "Evidence bound to a fresh nonce and the plan is appraised; it affirms; the program runs, confined."
run shim run --tee simulated --policy "$policy" -- "$program" uname -m
want 0

say "A policy that wants another measurement: nothing runs."
sed 's/digest = "[0-9a-f]\{8\}/digest = "00000000/' "$policy" >"$work/other.toml"
run shim run --tee simulated --policy "$work/other.toml" -- "$program" uname -m
want 125

say "A program that is taken over while it runs: its new code makes a call that the profile does not have."
if command -v musl-gcc >/dev/null; then
	musl-gcc -static -Os -o "$work/injected" "$here/injected.c"
	run shim run --tee simulated -- "$work/injected"
	want 159
else
	echo "musl-gcc is not installed; left out: sudo apt install musl-tools"
fi

say "An image that holds this program, the launcher and the plan, with what is known of its packages."
run shim build --sbom "$work/docs" -o "$work/image" "$program" uname -m
want 0

say "Signed, with version and provenance; the policy names the key."
openssl genpkey -algorithm ed25519 -out "$work/release.key" 2>/dev/null
openssl pkey -in "$work/release.key" -pubout -out "$work/release.pub"
run shim sign --key "$work/release.key" --identity demo/uname --version 2 --builder https://build.example/demo \
	--attach "$work/docs/sbom.spdx.json" "$work/image"
want 0
shim verify-image --example |
	sed -e 's,registry.example/app,demo/uname,; s,builder.pub,release.pub,; s,https://build.example/ci,https://build.example/demo,' \
		>"$work/images.toml"
run shim run --tee simulated --image-policy "$work/images.toml" "$work/image"
want 0

say "One bit of one file in it is another: nothing runs."
layer=$(find "$work/image/blobs" -type f -size +30k | head -1)
printf 'x' | dd of="$layer" bs=1 seek=20000 conv=notrunc 2>/dev/null
run shim run --tee simulated --image-policy "$work/images.toml" "$work/image"
want 125

kernel=$(find /boot -name 'vmlinuz-*' 2>/dev/null | sort | tail -1)
if ! command -v qemu-system-x86_64 >/dev/null || ! [ -r "$kernel" ]; then
	echo "no QEMU or no kernel in /boot; left out: sudo apt install qemu-system-x86 linux-image-cloud-amd64"
	exit 0
fi
case $program in /*) ;; *) program=$PWD/$program ;; esac
cd "$work"
ln -s "$kernel" kernel
held="--format initramfs --kernel kernel --relying-party-key relying-party.pub --evidence simulated --secret file:/run/key"
build() { # the findings about files are the same as before
	printf '$ shim build %s\n' "$*"
	shim build "$@" >said 2>&1 || { cat said; exit 1; }
	grep -E '^expected|plan sha256' said | cut -c1-160
}

say "A machine's image: its first process is the shim; its plan has the key of a relying party, and asks for a secret."
openssl genpkey -algorithm ed25519 -out relying-party.key 2>/dev/null
openssl pkey -in relying-party.key -pubout -out relying-party.pub
printf 'the key of the database' >secret
build $held --reference-values expected.json -o machine "$program" sha256sum /run/key

say "It boots; its evidence is appraised; only then the key is released, sealed to it; its program has it, and says so."
run shim boot --kernel kernel --key relying-party.key --secret secret --reference-values expected.json machine
want 0
echo "on this side: $(sha256sum <secret)"

say "Another command line for the same image: nothing is released, and what is another is named."
run shim boot -q --kernel kernel --key relying-party.key --secret secret --reference-values expected.json \
	--cmdline nosmt machine
want 125

say "A program that is taken over in its machine: the call is refused, told to the relying party, and all is off."
if [ -x "$work/injected" ]; then
	build $held -o taken-over ./injected
	run shim boot -q --kernel kernel --key relying-party.key --secret secret taken-over
	want 159
else
	echo "musl-gcc is not installed; left out: sudo apt install musl-tools"
fi
