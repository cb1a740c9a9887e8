# Everything the README names. Tools and caches are kept outside the checkout, so that a second run redoes nothing:
#   LITELLM_RUST_CACHE  where (default ~/.cache/litellm-rust)
CACHE            ?= $(if $(LITELLM_RUST_CACHE),$(LITELLM_RUST_CACHE),$(HOME)/.cache/litellm-rust)
export LITELLM_RUST_CACHE := $(CACHE)
export CARGO_TARGET_DIR   ?= $(CACHE)/target
export REFERENCE_VENV     ?= $(CACHE)/reference-venv
export PATH := $(CACHE)/tools/bin:$(PATH)

BINARY = $(CARGO_TARGET_DIR)/release/litellm-rust

.PHONY: help build demo test lint unit parity evidence bench bench-docs tools reference clients clean browser
help:
	@echo "make demo      build, start the real Python gateway, a provider and the edge; send traffic; compare and time"
	@echo "make test      formatting, clippy, unit, integration and parity tests"
	@echo "make bench     the Python gateway, the edge and the bare provider side by side: table, target/bench/result.json, speed.svg (10 minutes)"
	@echo "make build     the release binary: $(BINARY)"
	@echo "make evidence  run the parity suite with the release binary and renew parity-tests/evidence/"

tools:
	@tools/ensure-tools.sh

reference: tools
	@tools/ensure-reference.sh

clients: reference
	@tools/ensure-clients.sh

build: tools
	cargo build --release --locked
	@ls -l "$(BINARY)"

demo: build reference
	@"$(REFERENCE_VENV)/bin/python" demo/demo.py --binary "$(BINARY)"

# BENCH: options of the tool, see `make bench BENCH=--help`
bench: build reference
	cargo build --release --locked --example speed
	"$(CARGO_TARGET_DIR)/release/examples/speed" "$(BINARY)" $(BENCH)

# writes the last result into README.md and docs/speed.md
bench-docs: tools
	cargo build --release --locked --example speed
	"$(CARGO_TARGET_DIR)/release/examples/speed" --write-docs

lint: tools
	cargo fmt --all --check
	cargo clippy --all-targets --locked -- -D warnings

browser:
	@tools/ensure-browser.sh

unit: tools browser
	cargo test --locked

parity: tools reference clients
	cargo build --locked
	"$(CARGO_TARGET_DIR)/debug/litellm-rust" parity run --out "$(CACHE)/parity"
	@for route in $$("$(CARGO_TARGET_DIR)/debug/litellm-rust" routes status --json --routes routes.toml \
	  | python3 -c 'import json,sys; print(*[r["id"] for r in json.load(sys.stdin)["routes"] if r["mode"] != "python"])'); do \
	  "$(CARGO_TARGET_DIR)/debug/litellm-rust" parity can-flip $$route || exit 1; done

evidence: build reference clients
	"$(BINARY)" parity run --out "$(CACHE)/parity"

test: lint unit parity

clean:
	rm -rf "$(CACHE)"
