# `make` alone lists the targets.
.DEFAULT_GOAL := help
# Every target runs cargo, which locks its folder. In parallel, targets would only wait and mix their output.
.NOTPARALLEL:
.PHONY: help demo test bench isa peers mpi web web-test check fmt clippy doc examples wasm tint deny

# rustup's folder, for shells that have not read its profile.
export PATH := $(PATH):$(HOME)/.cargo/bin

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 18

demo: ## find or install a GPU driver, then show what xent does
	bash scripts/with-adapter cargo run --release --locked --features cli -- demo

test: ## run every test, on every adapter of this machine (see scripts/test)
	bash scripts/test

bench: ## run the benchmarks
	bash scripts/with-adapter cargo bench --locked --features cpu --bench loss

isa: ## count the kernels' instructions, without a GPU, and hold them to docs/instructions.md
	bash scripts/isa

# A separate workspace, which no other target builds.
peers: ## time xent beside burn, candle, SIMD on the CPU and PyTorch, and write benches/record/
	bash scripts/with-adapter cargo run --release --locked --manifest-path benches/peers/Cargo.toml

# A separate workspace, too.
mpi: ## install MPI if it is missing, build crates/xent-mpi, and test it on 1 to 4 ranks
	bash scripts/mpi

# The explorer's crates are workspaces of their own, too.
web: ## build the explorer, a page for browsers, in web/dist
	bash web/build

web-test: ## build the explorer and test it, if node and Chromium are installed
	bash web/test

check: ## everything that CI checks: format, lints, docs, examples, wasm, shaders, explorer, instructions, tests
	bash scripts/check

fmt: ## check the formatting
	cargo fmt --all --check

clippy: ## lint everything, and check the library without its features
	cargo clippy --locked --all-targets --all-features -- -D warnings
	scripts/check-default

# naga has more features for tests and examples than without them. What builds neither names an example too, so that cargo
# compiles the dependencies once for all targets.
doc: ## build the documentation, without warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --lib --example hello_softmax --no-deps --all-features

examples: ## build the tool and the examples
	cargo build --locked --all-features --bins --examples

wasm: ## lint the library and the explorer for browsers, if that target is installed
	@if [ -d "$$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then \
	  set -ex; CLIPPY_CONF_DIR=web/wasm cargo clippy --locked --lib --target wasm32-unknown-unknown -- -D warnings; \
	  target=$${CARGO_TARGET_DIR:-$$PWD/target}; cd web/wasm; \
	  cargo clippy --locked --target wasm32-unknown-unknown --target-dir "$$target" -- -D warnings; \
	else \
	  echo 'xent: the target wasm32-unknown-unknown is not installed: nothing checked'; \
	fi

tint: ## compile every shader with Tint, the compiler of Chrome, if node is installed
	bash tests/tint/run

deny: ## check licences and advisories of the dependencies, if cargo-deny is installed
	@if command -v cargo-deny >/dev/null; then \
	  set -x; cargo deny check; \
	else \
	  echo 'xent: cargo-deny is not installed: nothing checked'; \
	fi
