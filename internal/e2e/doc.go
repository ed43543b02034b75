// Package e2e runs the whole product with real programs around it: a real nginx
// shaped like what ingress-nginx renders, real MCP servers, the official MCP
// clients, a certified OpenID provider and a real browser. Keycloak and Dex are
// optional: where there is none, their tests are named as not run.
//
// The tests carry the build tag e2e, so that plain `go test ./...` needs nothing
// but Go. Run them with `make e2e`, which first runs hack/e2e/install.sh. A
// program that is not installed makes its tests fail as "not run"; it never
// counts as a pass. TestGateways asks every gateway the same, with the
// configurations of docs/gateways, and compares with docs/reference/gateways.md.
//
// E2E_BINARY names a binary to test instead of building
// ./cmd/mcp-forward-auth; E2E_OUT is where screenshots go (e2e-out); E2E_CACHE is
// where install.sh puts programs; E2E_STREAM_SECONDS is how long the long event
// stream is (10); E2E_CHAOS is how long replicas are killed in TestChaos (39s).
package e2e
