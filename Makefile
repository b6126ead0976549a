# webnibble: `make demo` and `make test` do all their own set-up; `make` alone lists what there is.

.DEFAULT_GOAL := help
.PHONY: help setup wasm native model demo test soak fuzz lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing: browser, wasm target, tools (idempotent)
	@scripts/setup.sh

wasm: setup ## build the agent for the page into pkg/ and check its size
	@scripts/build-wasm.sh

native: setup ## build the command line, target/release/webnibble
	cargo build --release -p webnibble-cli

model: setup ## fetch the model that demo and tests use
	@scripts/fetch-models.sh

demo: wasm native model ## a real quantized model in a real browser, at every bit width
	@cargo run --quiet --release -p webnibble-cli -- demo

test: wasm model ## all tests: native, in the browser, end to end
	@scripts/test.sh

soak: wasm ## 200 runs in a row (SOAK_RUNS=20 for fewer): nothing left behind, no memory that grows
	@cargo run --quiet -p webnibble-tests --example soak

fuzz: ## hostile files and messages, FUZZ_SECONDS=600 for each target (scripts/fuzz.sh; not in CI)
	@scripts/fuzz.sh

lint: setup ## formatting, clippy for native and wasm, licences, shell scripts
	@scripts/lint.sh

clean: ## remove what was built (installed tools and models stay)
	cargo clean
	rm -rf pkg www/node_modules
