//go:build e2e

package e2e

import (
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
)

// counted relays to an address and counts the connections.
func counted(t *testing.T, to string) (address string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = new(atomic.Int64)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer server.Close()
				go io.Copy(server, client)
				io.Copy(client, server)
			}()
		}
	}()
	return l.Addr().String(), connections
}

// nginx keeps its connections to the service and to the MCP server. One
// proxy_set_header in a location cancels those of the level above, Connection
// among them, and then there is a connection for each request.
func TestNginxKeepsConnections(t *testing.T) {
	track(t)
	kind := gatewayKinds[slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.name == "nginx" })]
	var service, server *atomic.Int64
	kind.start = func(t *testing.T, path string, site gatewaySite) *process {
		site.Service, service = counted(t, site.Service)
		site.MCP, server = counted(t, site.MCP)
		return recipeNginx(t, path, site)
	}
	st := newStack(t, setup{provider: "static", gateway: &kind})
	g, _ := signIn(t, st.statelessURL, alice)
	before := [2]int64{service.Load(), server.Load()}
	const requests = 200
	for range requests {
		resp, _ := do(t, http.MethodGet, st.statelessURL+"/probe/echo", nil, bearer(g)...)
		mustEqual(t, "status", resp.StatusCode, http.StatusOK)
		resp, _ = do(t, http.MethodGet, origin(st.statelessURL)+"/.well-known/oauth-authorization-server", nil)
		mustEqual(t, "status of the metadata", resp.StatusCode, http.StatusOK)
	}
	for i, c := range []*atomic.Int64{service, server} {
		if n := c.Load() - before[i]; n > 8 {
			t.Errorf("%d connections to the %s for %d requests", n, []string{"service", "MCP server"}[i], requests)
		}
	}
}
