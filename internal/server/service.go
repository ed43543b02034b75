package server

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/certificate"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/envoy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/flows"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/relay"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
)

// service is everything that is built from one configuration. It never changes; a new
// configuration makes a new service, which takes over.
type service struct {
	*lasting
	cfg     *config.Config
	metrics *metrics
	table   *resource.Table

	protocol, management http.Handler
	decisions            *forwardauth.Endpoint
	named                envoy.Headers // that decisions look up

	recent    *flows.Log // nil unless sign-ins are to be shown
	catalogue *catalog.Cache
	fetchers  fetchers
	relay     *relay.Endpoint     // nil where no MCP server is served here
	held      *providertoken.Held // nil where no session with a provider is held
	// certificates are those of the protocol listener, nil for plain HTTP; redirect
	// is for the listener without TLS beside it.
	certificates *certificate.Certificates
	redirect     http.Handler
	tls          *tls.Config
	gates        *gatewatch.Watch // nil for none
	foreign      *issuer.Kind     // tokens of other authorization servers
	clients      *registration.Clients
	trusted      []*jwks.Set // keys of those whose assertions are taken, in the order of the configuration
	learnt       learnt
	events       *ssf.Receiver // nil for none
	limiters     limiters
	files        followed
	// begins are the last things to do before the service is in force, which change
	// what lasts. The first that fails keeps the service from it.
	begins []func() error
	// trouble says what does not work, one thing in each line.
	trouble func() []string

	// inside is the number of requests in progress, plus one while the service is in
	// force.
	inside atomic.Int64
	stop   context.CancelFunc // ends run; nil before
	over   sync.Once
}

// run does the service's background work until ctx ends or it is retired.
func (v *service) run(ctx context.Context) {
	ctx, v.stop = context.WithCancel(ctx)
	go v.catalogue.Run(ctx)
	go v.gates.Run(ctx)
	go v.foreign.Run(ctx)
	for _, keys := range v.trusted {
		go keys.Run(ctx)
	}
	v.events.Run(ctx)
	for _, f := range v.files.files {
		go f.Watch(ctx)
	}
	if v.certificates != nil {
		go v.certificates.Run(ctx)
	}
}

// leave is called when a request has its answer. The last request of a retired
// service closes it.
func (v *service) leave() {
	if v.inside.Add(-1) == 0 {
		v.over.Do(v.close)
	}
}

// retire ends the service's background work. Requests in progress continue, and what
// they need stays until the last one ends.
func (v *service) retire() {
	if v.stop != nil {
		v.stop()
	}
	v.decisions.Forget()
	v.leave()
}

// close closes connections.
func (v *service) close() {
	if v.relay != nil {
		v.relay.Close()
	}
	v.alive.remove(v)
	v.log.Debug("a service of an earlier configuration is over: its last request has its answer")
}

// services are those of a process that have requests, or are in force.
type services struct {
	mu  sync.Mutex
	all []*service // the oldest first
}

func (s *services) add(v *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, v)
}

func (s *services) remove(v *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.all {
		if other == v {
			s.all = append(s.all[:i:i], s.all[i+1:]...)
			return
		}
	}
}

// list returns them, the oldest first.
func (s *services) list() []*service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*service(nil), s.all...)
}

// open is how many requests to served MCP servers are under way.
func (s *services) open() (n int) {
	for _, v := range s.list() {
		if v.relay != nil {
			n += v.relay.Open()
		}
	}
	return n
}
