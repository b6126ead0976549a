# webnibble: every target does its own set-up; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help setup wasm native model demo test soak fuzz lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install all that is missing: browsers, wasm target, tools (idempotent)
	@scripts/setup.sh

wasm: ## build the agent for the page into pkg/, for every browser, and check its size
	@scripts/setup.sh wasm
	@scripts/build-wasm.sh

native: ## build the command line, target/release/webnibble
	@scripts/setup.sh native
	cargo build --release -p webnibble-cli

model: ## fetch the model that demo and tests use
	@scripts/setup.sh model
	@scripts/fetch-models.sh

demo: ## a real quantized model in a real browser, at every bit width; sets up and builds no more than that needs
	@scripts/demo.sh

test: setup wasm model ## all tests: native, in the browser, end to end
	@scripts/test.sh

soak: setup wasm ## 200 runs in a row (SOAK_RUNS=20 for fewer): nothing left behind, no memory that grows
	@cargo run --quiet --example soak

fuzz: ## hostile files and messages, FUZZ_SECONDS=600 for each target (scripts/fuzz.sh; not in CI)
	@scripts/fuzz.sh

lint: ## formatting, clippy for native and wasm, licences, shell scripts
	@scripts/setup.sh wasm model
	@scripts/lint.sh

clean: ## remove what was built (installed tools and models stay)
	cargo clean
	rm -rf pkg www/node_modules
