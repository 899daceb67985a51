# Targets for people: demo, test. For developers: interop, conformance, bench, peers, fuzz, lint.
# Go and make are all that is needed; what needs Python as well says so when Python is missing.

GO ?= go
PYTHON ?= python3
VENV := .venv
TOOLS := $(GO) tool -modfile=testdata/tools/go.mod
FUZZTIME ?= 10s
BENCH ?= .
TESTFLAGS ?=
PEERS := .venv-peers
PEERS_PYTHON ?= $(PEERS)/bin/python
PEERSFLAGS ?=

.PHONY: all demo test check interop venv torch conformance bench peers fuzz lint clean

all: bin/asdlc

.PHONY: bin/asdlc
bin/asdlc:
	@mkdir -p bin
	$(GO) build -o $@ ./cmd/asdlc

# A network is made, compiled into a Shampoo training step and trained on drawn digits. Files go to demo/.
demo: bin/asdlc
	@sh testdata/tools/demo.sh

# Everything that can be checked on this machine. The Go tests run once; with Python they include the interop suite.
test: check
	@sh testdata/tools/test.sh $(TESTFLAGS)

check:
	$(GO) vet ./...
	$(GO) vet -tags interop ./cmd/asdlc ./models ./passes/autodiff ./passes/precondition
	CGO_ENABLED=0 $(GO) vet -tags nodl ./runtime/dl ./runtime/kernel
	@bad=$$(gofmt -s -l cmd graph models passes runtime testdata); test -z "$$bad" || { echo "run gofmt -s -w on:"; echo "$$bad"; exit 1; }

# Step graphs in stock onnxruntime against the Go runtime, step by step.
interop: venv
	ASDLC_PYTHON=$(CURDIR)/$(VENV)/bin/python $(GO) test -tags interop -count=1 -timeout 60m -v -run Interop ./cmd/asdlc ./models ./passes/autodiff ./passes/precondition

# The local environment of the interop suite.
venv:
	@PYTHON=$(PYTHON) sh testdata/tools/venv.sh $(VENV)

# PyTorch for it, some 200 MB, for the checks that are skipped without: gradients and reference networks.
torch: venv
	$(VENV)/bin/python -m pip install --disable-pip-version-check -r testdata/interop/requirements-torch.txt

# ONNX backend node tests, whole models and the operator tables; every model trained with every method.
conformance:
	$(GO) test -count=1 -v -run 'Node|Symbolic|Standard|Models' ./graph/op ./runtime ./runtime/kernel
	ASDLC_FULL=1 $(GO) test -count=1 -v -timeout 90m -run Conformance ./cmd/asdlc

bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

# asdlc beside PyTorch, ASDL and onnxruntime, in an environment of its own (some 300 MB) or with PEERS_PYTHON's. An hour or
# several: PEERSFLAGS="--networks mlp-512 --rounds 3" is a part of it.
peers: bin/asdlc
	@test "$(PEERS_PYTHON)" != "$(PEERS)/bin/python" || PYTHON=$(PYTHON) sh testdata/tools/venv.sh $(PEERS) testdata/peers/requirements.txt
	@mkdir -p build
	$(PEERS_PYTHON) testdata/peers/peers.py --asdlc bin/asdlc --json build/peers.json --markdown build/peers.md $(PEERSFLAGS)

# Each fuzz target for a short while.
fuzz:
	@$(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ {f[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, f[i]; n = 0}' | \
	while read -r pkg name; do \
		echo "$$name in $$pkg"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$pkg" || exit 1; \
	done

# The pinned tools of testdata/tools/go.mod; the first run downloads and builds them.
lint:
	$(GO) vet ./...
	@bad=$$($(TOOLS) gofumpt -l cmd graph models passes runtime testdata); test -z "$$bad" || { echo "run gofumpt -w on:"; echo "$$bad"; exit 1; }
	$(TOOLS) staticcheck -tags interop ./...

clean:
	rm -rf bin build demo $(VENV) $(PEERS)
