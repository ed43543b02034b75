package server

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/relay"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// serve makes the relay to the MCP servers that are served here, nil for none.
func (b *builder) serve(decisions *forwardauth.Endpoint) http.Handler {
	routes := everyRoute()
	o := relay.Options{
		Credentials: b.credentials(), Decisions: decisions, Resources: b.table, Identity: b.cfg.IdentityHeaders.Names(), Keys: b.sessionKeys, App: registration.App,
		Owned: func(path string) bool { return owns(routes, path) }, TrustedProxies: b.cfg.Listen.TrustedProxies, Audit: b.audit, Dial: b.opt.Dial,
	}
	o.TokenRefused = b.tokenRefused
	if b.cfg.Egress.ProxyMCPServers {
		o.Proxy = b.cfg.Egress.Proxy()
	}
	e := relay.New(o)
	if !e.Serves() {
		return nil
	}
	b.metrics.watchRelay(e, b.alive.open)
	b.relay = e
	return e
}

// watchRelay makes the metrics of e, and of how many requests are open.
func (m *metrics) watchRelay(e *relay.Endpoint, open func() int) {
	ended := m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_relayed_requests_total", Help: "Requests that were let through to MCP servers of served hosts, by how they ended: answered, left by the client, cut off, or failed with 502 or 504. Only where a host is served.",
	}, []string{"outcome"})
	by := map[relay.Outcome]prometheus.Counter{}
	for _, o := range relay.Outcomes {
		by[o] = ended.WithLabelValues(string(o))
	}
	e.Ended = func(_ *resource.Resource, o relay.Outcome) { by[o].Inc() }
	m.make.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_relayed_open", Help: "Requests to MCP servers of served hosts in progress, including open streams. Only where a host is served.",
	}, func() float64 { return float64(open()) })
}
