# Everything the README names. Tools and caches are kept outside the checkout, so that a second run redoes nothing:
#   LITELLM_RUST_CACHE  where (default ~/.cache/litellm-rust)
CACHE            ?= $(if $(LITELLM_RUST_CACHE),$(LITELLM_RUST_CACHE),$(HOME)/.cache/litellm-rust)
export LITELLM_RUST_CACHE := $(CACHE)
export CARGO_TARGET_DIR   ?= $(CACHE)/target
export REFERENCE_VENV     ?= $(CACHE)/reference-venv
export PATH := $(CACHE)/tools/bin:$(PATH)

BINARY = $(CARGO_TARGET_DIR)/release/litellm-rust

# the reference that a parity run leaves for the generated requests
STATE = $(or $(TMPDIR),/tmp)/litellm-rust-state-$(shell pwd | cksum | cut -d' ' -f1)
# options of the run, of the generated requests after it; the reference is stopped however they end
DEBUG = "$(CARGO_TARGET_DIR)/debug/litellm-rust"
suite = status=0; $(DEBUG) parity run --keep --state "$(STATE)" $(1) || status=$$?; \
  if [ $$status = 0 ]; then python3 parity-tests/tools/generated.py --binary $(DEBUG) --state "$(STATE)" $(2) || status=$$?; fi; \
  if [ $$status = 0 ] && [ -n "$(3)" ]; then python3 parity-tests/tools/$(3) --binary $(DEBUG) --state "$(STATE)" || status=$$?; fi; \
  $(DEBUG) parity down --state "$(STATE)"; exit $$status

.PHONY: help openapi build demo test lint unit golden parity mutants evidence bench bench-docs tools reference clients clean browser
help:
	@echo "make demo      build, start the real Python gateway, a provider and the edge; send traffic; compare and time"
	@echo "make test      formatting, clippy, unit, integration and parity tests"
	@echo "               (plain cargo test needs REFERENCE_VENV, which make sets; WITHOUT_REFERENCE=1 leaves out what needs it)"
	@echo "make bench     the Python gateway, the edge and the bare provider side by side: table, target/bench/result.json, speed.svg (10 minutes)"
	@echo "make build     the release binary: $(BINARY)"
	@echo "make openapi   thousands of requests made out of LiteLLM's OpenAPI document, to both sides"
	@echo "make mutants   build known faults in, one by one, and see the parity suite notice each"
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

unit: tools browser reference
	cargo test --locked

# the tables made of LiteLLM's sources are those of the LiteLLM there is
golden: tools reference
	"$(REFERENCE_VENV)/bin/python" parity-tests/tools/golden_paths.py --check --router 4000
	"$(REFERENCE_VENV)/bin/python" parity-tests/tools/metadata_words.py --check

parity: tools reference clients golden
	cargo build --locked
	@$(call suite,--out "$(CACHE)/parity",--targets 150 --openapi 400,limits_together.py)
	@for route in $$("$(CARGO_TARGET_DIR)/debug/litellm-rust" routes status --json --routes routes.toml \
	  | python3 -c 'import json,sys; print(*[r["id"] for r in json.load(sys.stdin)["routes"] if r["mode"] != "python"])'); do \
	  "$(CARGO_TARGET_DIR)/debug/litellm-rust" parity can-flip $$route || exit 1; done

# thousands of generated requests; SEED=n for others, OPENAPI=n for more
openapi: tools reference
	cargo build --locked
	@$(call suite,--route health_liveliness --no-evidence --out "$(CACHE)/openapi",--targets 1000 --openapi $(or $(OPENAPI),5000) --seed $(or $(SEED),1))

evidence: build reference clients
	"$(BINARY)" parity run --out "$(CACHE)/parity"

# every fault that can be built in must turn the suite red; the plain debug binary is put back at once
mutants: tools reference
	cargo build --locked --features faults
	cp "$(CARGO_TARGET_DIR)/debug/litellm-rust" "$(CARGO_TARGET_DIR)/debug/litellm-rust-faults"
	cargo build --locked
	"$(CARGO_TARGET_DIR)/debug/litellm-rust-faults" parity mutants --out "$(CACHE)/mutants"

test: lint unit parity mutants

clean:
	rm -rf "$(CACHE)"
