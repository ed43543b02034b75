tool = go tool -modfile=hack/tools/go.mod

.PHONY: all $(MAKECMDGOALS) # none of these is a file
all: build lint test

demo: ## the whole picture on this computer
	go run ./cmd/mcp-forward-auth demo

build: ## a static binary in bin/
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -o bin/ ./cmd/mcp-forward-auth

test: ## everything that needs nothing but Go
	go test ./...

race: ## the same with the race detector, which needs a C compiler
	go test -race ./...

conformance: ## every requirement, whether it is met, and the totals
	go test -count=1 ./internal/conformance
	@cat docs/reference/conformance.md

e2e: ## real gateways, MCP clients, identity provider and browser
	hack/e2e/install.sh
	go test -tags e2e -count=1 -timeout 20m ./internal/e2e ./internal/forwardauth

chaos: ## replicas under fire for T (10m)
	hack/e2e/install.sh
	E2E_CHAOS=$(or $(T),10m) go test -tags e2e -count=1 -v -timeout 24h -run TestChaos ./internal/e2e

rotation: ## a stream of a served host outlives six signing keys, in a minute or two
	go test -count=1 -tags shortkeys -run TestStreamOutlivesSixKeys ./internal/relay

reloads: ## N (200) changes of the configuration while clients of every kind go through nginx
	E2E_RELOADS=$(or $(N),200) go test -tags e2e -count=1 -v -timeout 20m -run TestReloadUnderLoad ./internal/e2e

lint: ## gofmt, words, vet, staticcheck, templ
	@test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }
	hack/words.sh
	go vet ./... && go vet -tags e2e ./internal/e2e ./internal/forwardauth && go vet -tags e2e,controllers ./internal/e2e && $(tool) staticcheck -tags e2e ./...
	hack/generated.sh

generate: ## the pages' Go code from their templates
	$(tool) templ fmt internal/page
	go generate ./internal/page

size: ## whether the program is as small as a release must be
	hack/size.sh

workflows: ## .github and the Dockerfiles: actionlint, zizmor, hadolint
	hack/workflows.sh

site: ## the documents as a site, in dist/site; fails for a dead link
	hack/site/build.sh

vulncheck: ## known vulnerabilities in what is called; needs vuln.go.dev
	$(tool) govulncheck ./...

chart: ## the Helm chart: both majors of Helm, schemas, kube-score, README
	cd hack/chart && go test -count=1 -timeout 30m ./...

chart-update: ## write what follows from the chart's values and templates
	cd hack/chart && go test -count=1 -timeout 30m ./... -update

image: ## the Dockerfiles, built by buildah with stand-in base images, and run
	hack/image/test.sh

dist: ## archives of every platform and the chart: make dist VERSION=v1.2.3
	hack/release/build.sh $(VERSION)

cluster: ## the Helm chart on a real Kubernetes, which is built from Go modules
	hack/cluster/run.sh

controllers: ## the gateways' recipes at real ingress controllers, which are built from Go modules
	hack/controllers/run.sh

bench: ## what a forward-auth request costs beside a bare handler; needs Linux, a minute or two
	go run ./hack/bench
	go test -run '^$$' -bench Among -benchtime 200000x ./internal/forwardauth

soak: ## steady load for T (30m): no error, no growth
	go run ./hack/soak -for $(or $(T),30m)

fuzz: ## each fuzz target for T (10s)
	FUZZTIME=$(or $(T),10s) hack/fuzz.sh

ci: ## what runs for every change
	.ci/run
