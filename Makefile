# Everything a person or a CI job does here. `make` alone lists it.
SHELL       := /bin/bash
GO          ?= go
TOOL        := $(GO) tool -modfile=internal/tools/go.mod
# Tells at the end what was skipped, and why.
GOTESTSUM    = $(TOOL) gotestsum --format standard-quiet
FUZZTIME    ?= 20s
REPS        ?= 3
SOAK        ?= 5
PROFILE     ?= perf
# Packages with tests against real servers and clients (build tag e2e).
REAL         = $(shell grep -rl --include='*_test.go' '^//go:build e2e' . | xargs -r -n1 dirname | sort -u)
export KEEP

.PHONY: help build check test unit e2e soak fuzz bench demo man cover deps fmt clean

help: ## list the targets
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build: ## build bin/drawbridge
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/drawbridge ./cmd/drawbridge

check: ## formatting, vet, staticcheck, errcheck, import walls
	@out=$$($(TOOL) gofumpt -l .) && { [ -z "$$out" ] || { echo "run make fmt for:"; echo "$$out"; exit 1; }; }
	$(GO) vet ./...
	$(GO) vet -tags e2e ./...
	$(TOOL) staticcheck -tags e2e ./...
	$(TOOL) errcheck -tags e2e -exclude internal/tools/errcheck.txt ./...
	$(GO) test ./internal/archtest

test: deps unit e2e ## install what is missing, then run all tests

unit: ## unit tests, with the race detector (which would have each package sleep a second at its end)
	GORACE=atexit_sleep_ms=50 $(GOTESTSUM) -- -race -shuffle=on -timeout 30m ./...

e2e: build ## tests against real servers and clients; RERUN=1 tries a few that failed once more, and says so
	$(GOTESTSUM) $(if $(RERUN),--rerun-fails=1 --rerun-fails-max-failures=8) --packages "$(REAL)" -- \
		-tags e2e -count=1 -timeout 30m -p 2 -parallel 3

soak: build ## the fault scenarios SOAK times longer (5: 50 kills), with a table of what became of each line
	SOAK=$(SOAK) $(GO) test -tags e2e -count=1 -timeout 60m -parallel 3 -v -run '^TestFault' ./internal/e2e

fuzz: ## run each fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

bench: deps build ## benchmarks, then ratios to a bare relay on real servers (PROFILE=smoke is quicker)
	$(GO) test -run '^$$' -bench . -benchmem $$($(GO) list ./... | grep -v internal/bench)
	$(GO) build -o bin/bench ./internal/bench
	cd internal/bench && for pair in null,drawbridge null,drawbridge-journal null-xep0027,drawbridge-xep0027 null-xep0027,drawbridge-xep0027-journal null-xep0027,drawbridge-xep0027-signed null-otr,drawbridge-otr-journal; do \
		../../bin/bench -vs -reps $(REPS) -profile $(PROFILE) -bin drawbridge=$(CURDIR)/bin/drawbridge -json /dev/null \
			-spec specs/$${pair%,*}.json,specs/$${pair#*,}.json || exit 1; \
	done

demo: deps build ## see it work: real servers, real gpg, one minute; KEEP=1 leaves it running
	@$(GO) build -o bin/demo ./internal/demo && bin/demo

man: build ## write docs/drawbridge.1 and the shell completions
	bin/drawbridge man docs/drawbridge.1
	@mkdir -p contrib/completions
	bin/drawbridge completion bash > contrib/completions/drawbridge.bash
	bin/drawbridge completion zsh > contrib/completions/_drawbridge
	bin/drawbridge completion fish > contrib/completions/drawbridge.fish

cover: ## coverage of the unit tests
	$(GO) test -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -1

deps: ## install the servers and clients that tests and demo use (Debian)
	@internal/lab/deps.sh

fmt: ## format the sources
	$(TOOL) gofumpt -w .

clean: ## remove what was built
	rm -rf bin cover.out
