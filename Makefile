# shim: every target works from a clean clone and is safe to repeat. `make` alone prints this list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
APT_PACKAGES := gcc libc6-dev make musl-tools libsodium-dev python3-venv python3-dev
# A machine, firmware, a TPM, runtimes of containers, a model checker and a database of its own for
# what this one may lack; without them tests are skipped.
GUEST_PACKAGES := busybox-static qemu-system-x86 linux-image-cloud-amd64 cpio swtpm swtpm-tools tpm2-tools ovmf systemd-boot-efi runc umoci \
	skopeo libarchive-tools gdisk dosfstools mtools qemu-utils spin postgresql \
	buildah podman crun diffoscope-minimal
# A peer of images.
BENCH_PACKAGES := mmdebstrap
# A plain path, not a finder of modules: as quick to start as what is installed from a wheel.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--config-settings editable_mode=compat --editable
NATIVE := $(wildcard native/*.c native/*.h native/*.py native/*.cdef native/Makefile)
T ?= tests
RUNS ?= 200000
COUNT ?= 50000
CHECKED := shim attestation images native tests setup.py

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types format build bench corpus wide tables golden load sanitize fuzz clean

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)$$/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

demo: $(VENV)/.ready $(VENV)/.guest ## set everything up and run the main job on a real program
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/examples/demo.sh

test: $(VENV)/.ready $(VENV)/.guest ## set everything up and run all tests (T=path K=pattern: fail fast)
	$(BIN)/python -m pytest $(T) $(if $(K),-x -k "$(K)",-n 2 --dist loadfile)
	$(if $(K),,PYTHONOPTIMIZE=1 $(BIN)/python -W ignore -m pytest -q -n 2 --dist loadfile -p no:cacheprovider -W ignore::pytest.PytestConfigWarning tests/attestation)

check: lint types test ## lint, types and tests: what must hold before a commit

lint: $(VENV)/.ready ## formatting, ruff, the C compiler's analyzer
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(MAKE) -C native analyze

types: $(VENV)/.ready ## mypy --strict
	$(BIN)/mypy

format: $(VENV)/.ready ## rewrite the formatting
	$(BIN)/ruff format $(CHECKED)
	$(BIN)/ruff check --fix $(CHECKED)

build: $(VENV)/.ready ## the extension and the static launchers
	@ls -l shim/launch/shim-launch shim/launch/shim-init shim/launch/_native*.so shim/analysis/_decode*.so

bench: $(VENV)/.bench ## measure against the peers that are installed; writes bench/results.json and a picture
	$(BIN)/python -m tests.benchmarks; held=$$?; \
	$(BIN)/python -m tests.benchmarks.plot bench/results.json docs/benchmarks.svg; exit $$held

corpus: $(VENV)/.ready ## build the shared corpus (root, Debian 12) and compare every profile with its traced truth
	$(BIN)/python -m tests.benchmarks.corpus

wide: $(VENV)/.ready ## profile and run many more programs of the archive (root; an hour); N=names
	$(BIN)/python -m tests.benchmarks.wide $(N)

tables: $(VENV)/.ready ## regenerate the decoder's tables, say how the syscall tables are made
	$(BIN)/python -m shim.syscalls.generate --help
	$(BIN)/python -m shim.analysis.generate --output native/x86_tables.c

golden: $(VENV)/.ready ## rewrite golden files and show what changed
	$(BIN)/python -m tests.golden
	git diff --stat -- tests docs

load: $(VENV)/.ready ## the relying party under load, killed in the middle, asked all that it describes: COUNT=attestations
	$(BIN)/python -m tests.benchmarks.attestations --count $(COUNT)

sanitize: $(VENV)/.ready ## the native readers under ASan and UBSan
	$(MAKE) -C native sanitize

fuzz: $(VENV)/.fuzz ## longer campaigns on every reader, in C and in Python: S=seconds, RUNS=inputs per target
	$(MAKE) -C native fuzz
	$(BIN)/python -m tests.fuzz --runs $(RUNS)

clean: ## remove everything that was built
	rm -rf $(VENV) build dist bench *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f shim/launch/_native*.so shim/launch/_native.c shim/launch/shim-launch shim/launch/shim-init
	rm -f shim/analysis/_decode*.so shim/analysis/_decode.c
	$(MAKE) -s -C native clean
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.fuzz: $(VENV)/.ready
	$(INSTALL) '.[fuzz]'
	@touch $@

$(VENV)/.bench: $(VENV)/.ready
	@PYTHON="$(PYTHON)" sh native/system-packages.sh --optional $(BENCH_PACKAGES)
	$(INSTALL) '.[bench]'
	@touch $@

$(VENV)/.guest: $(VENV)/.ready
	@PYTHON="$(PYTHON)" sh native/system-packages.sh --optional $(GUEST_PACKAGES)
	@touch $@

$(VENV)/.ready: pyproject.toml setup.py $(NATIVE)
	@PYTHON="$(PYTHON)" sh native/system-packages.sh $(APT_PACKAGES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[dev]'
	$(BIN)/python -m compileall -q shim attestation images
	@touch $@
