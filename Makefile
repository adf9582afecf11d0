# hv_vss: build, test, show, install. Works with GNU make and with FreeBSD's make.
#
#	make			the programs and plugins
#	make demo		one whole backup, shown step by step (root, Linux, /dev/fuse)
#	make playground		the demo's guest, left to you with a shell
#	make test		every test that this machine can run; installs nothing
#	make setup		installs what developers need (root, Debian)
#	make bench		what a guest pays for a backup, beside other tools (docs/performance.md)
#	make bench-check	is any of it worse than in the last committed run?
#	make soak		the long forms: every cell of the fault matrix, 10,000 backups with faults, the
#				frozen root for an hour, 100 backups of each database
#	make fuzz		every fuzzer, for an hour (SECONDS=)
#	make fuzz-smoke		every fuzzer, for ten seconds
#	make sanitize		the border between Rust and C under AddressSanitizer
#	make lint		formatting, clippy and rustdoc, as CI demands them
#	make deny		licences, duplicates and sources of what it is made of
#	make install		under PREFIX (packaging/install.mk has more)
#	make freebsd		cross-build for FreeBSD and check what comes out
#	make freebsd-package	the package that pkg(8) installs on FreeBSD, from the cross-build
#	make freebsd-test-kit	a tarball that tests all this on a FreeBSD machine

CARGO?=		cargo

all:
	@! WITHOUT_HYPERV="$(WITHOUT_HYPERV)" ARCH="$(ARCH)" packaging/install may-build || \
	    $(CARGO) build --release --locked --workspace --exclude hv-vss-testbed --exclude hv-vss-sim --exclude hv-vss-stories --exclude hv-vss-databases --exclude hv-vss-faults --exclude hv-vss-bench --exclude hv-vss-properties

# Programs, plugins and the simulator: what the demo's guest is made of, and nothing else.
GUEST=		-p hv-vss-daemon -p vssctl -p hv-vss-worker -p hv-vss-plugin-ufs \
		-p hv-vss-plugin-zfs-veto -p hv-vss-plugin-exec-hook \
		-p hv-vss-plugin-kvp-report -p hv-vss-sim -p hv-vss-stories

demo:
	$(CARGO) build --locked $(GUEST)
	$${CARGO_TARGET_DIR:-target}/debug/demo

playground:
	$(CARGO) build --locked $(GUEST)
	$${CARGO_TARGET_DIR:-target}/debug/playground

test:
	scripts/test

setup:
	scripts/setup

bench:
	$(CARGO) build --release --locked --workspace
	$${CARGO_TARGET_DIR:-target}/release/hv-vss-bench run

bench-check:
	$(CARGO) build --release --locked --workspace
	$${CARGO_TARGET_DIR:-target}/release/hv-vss-bench check

fuzz:
	scripts/fuzz $${SECONDS:-3600}

# From one seed, so that it fails for what a change did and not by chance.
fuzz-smoke:
	FUZZ_SEED=1 scripts/fuzz 10

sanitize:
	scripts/sanitize

soak:
	scripts/soak

lint:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet

deny:
	scripts/supply-chain

freebsd:
	scripts/freebsd-build

freebsd-package:
	scripts/freebsd-package

freebsd-test-kit:
	scripts/freebsd-test-kit

clean:
	$(CARGO) clean
	$(MAKE) -C kmod clean

include packaging/install.mk

.PHONY: all demo playground test setup bench bench-check fuzz fuzz-smoke sanitize soak lint deny freebsd freebsd-package freebsd-test-kit clean
