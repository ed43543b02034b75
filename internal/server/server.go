// Package server is the root: it builds every part from the configuration, puts
// the handlers on the listeners and runs them until told to stop. It is the only
// package that knows them all.
package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/envoy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// liveGuardIDs bounds the replay guard's memory: some 200 MB when full, which
// takes a million sign-ins within ten minutes.
const liveGuardIDs = 1 << 20

// answeredPages bounds the memory of answered consent pages and callbacks.
const answeredPages = 1 << 16

// liveRevocations bounds the list of what was revoked: some 200 MB when full.
// Only a token that is genuine and the client's own can be revoked.
const liveRevocations = 1 << 20

// Server is the process: its listeners, its lasting parts, and the service in force.
type Server struct {
	// Protocol and Management are the handlers of the HTTP listeners.
	Protocol, Management http.Handler
	// Envoy answers Envoy over gRPC. It is served only if it has a listener.
	Envoy *grpc.Server

	*lasting
	current atomic.Pointer[service]
	reloads reloads
	places  places // of connections to the protocol listener

	changing sync.Mutex      // held while another service takes over
	work     context.Context // of Serve; nil before. Guarded by changing.
}

// Options are what the configuration does not say.
type Options struct {
	Logger *slog.Logger
	// Level, if set, is that of Logger. It follows the configuration.
	Level   *slog.LevelVar
	Version string
	Now     func() time.Time // time.Now if nil
	// HTTPClient reaches identity providers; nil is a client of our own.
	HTTPClient *http.Client
	// SpanExporter gets spans instead of the configured collector, for tests.
	SpanExporter sdktrace.SpanExporter
	// Network is how URLs that clients name are reached; the zero value is the internet.
	Network egress.Network
	// Dial, if set, connects to MCP servers instead of the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Gateways, if set, is what the gate watch asks instead of the network, for tests.
	Gateways http.RoundTripper
	// KeySource, if set, stands before each source of signing keys: deriving a
	// key is slow, and tests make many services with the same seed.
	KeySource func(keyset.Source) keyset.Source
}

// New builds the service. It makes the first signing keys, which takes a
// moment, and opens no connection and no listener.
func New(cfg *config.Config, opt Options) (*Server, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Level == nil {
		opt.Level = new(slog.LevelVar)
	}
	if err := Check(cfg); err != nil {
		return nil, err
	}
	opt.Level.Set(cfg.LogLevel)
	l, err := newLasting(cfg, opt)
	if err != nil {
		return nil, err
	}
	first, err := l.build(cfg, nil)
	if err != nil {
		return nil, err
	}
	s := &Server{lasting: l, places: newPlaces()}
	s.ready.degraded = s.degraded
	if err := s.takeOver(first); err != nil {
		return nil, err
	}
	s.reloads.note(opt.Now(), cfg, nil)
	s.metrics.loaded(opt.Now(), cfg)
	s.Protocol = s.by(func(v *service) http.Handler { return v.protocol })
	s.Management = s.by(func(v *service) http.Handler { return v.management })
	answers := inForce{s}
	s.Envoy = envoy.NewServer(answers, answers.reads, s.log)
	return s, nil
}

// callbackHost is where identity providers send browsers back to, nil where each
// MCP host has a callback of its own.
func callbackHost(c resource.PublicHost) (*resource.Host, error) {
	if c.Host == "" {
		return nil, nil
	}
	h, err := resource.NewHost(c.Host, c.Scheme)
	if err != nil {
		return nil, fmt.Errorf("proxy.callbackHost: %w", err)
	}
	return h, nil
}

// identities signs the identity header, nil if there is none to be signed.
func identities(cfg *config.Config, keys *keyset.Set, tickets token.Tickets) *token.Identities {
	if cfg.IdentityHeaders.JWT == "" {
		return nil
	}
	return &token.Identities{Keys: keys, Tickets: tickets, Lifetime: cfg.IdentityHeaders.Signed.Lifetime}
}

// announceDocuments reports whether metadata announces metadata documents; nil if they
// are off. It depends on whether documents can be fetched only if clients can register
// instead.
func announceDocuments(clients *registration.Clients) func() bool {
	switch {
	case clients.Documents == nil:
		return nil
	case clients.Dynamic == nil:
		return func() bool { return true }
	}
	return clients.Documents.Reachable
}

// urlPolicy says which URLs of clients may be fetched.
func urlPolicy(cfg *config.Config, opt Options) registration.URLPolicy {
	documents := cfg.Registration.MetadataDocuments
	urls := registration.URLPolicy{
		Egress: &egress.Client{
			Ports: documents.Ports, Named: documents.NamedHosts(), Denied: cfg.Egress.Denied, Proxy: cfg.Egress.Proxy(),
			Loopback: documents.AllowLoopback, Network: opt.Network, Now: opt.Now,
		},
		Allowed: documents.AllowedDomains, Denied: documents.DeniedDomains,
	}
	for _, h := range cfg.Hosts {
		urls.Own = append(urls.Own, (&url.URL{Host: h.Host}).Hostname())
	}
	for _, c := range cfg.Clients {
		if c.JWKSURI != "" {
			urls.Egress.NamedURLs = append(urls.Egress.NamedURLs, c.JWKSURI)
		}
	}
	return urls
}

// newClients makes the three kinds of clients that the configuration admits.
func newClients(cfg *config.Config, opt Options, sealing *seal.Keyring) (*registration.Clients, error) {
	documents := cfg.Registration.MetadataDocuments
	urls := urlPolicy(cfg, opt)
	redirects := registration.RedirectPolicy{Allowed: cfg.RedirectURLs, Schemes: cfg.RedirectSchemes}
	sets := registration.NewKeySets(urls, opt.Now)
	clients := &registration.Clients{KeySets: sets}
	devices := slices.ContainsFunc(cfg.Hosts, func(h resource.Entry) bool { return h.DeviceGrant })
	grants := grant.Types(grant.All(), func(g grant.Grant) bool {
		return grant.Registrable(g) && (devices || g.Type != device.GrantType)
	})
	var err error
	if clients.Static, err = registration.NewStatic(cfg.Clients, sets); err != nil {
		return nil, err
	}
	strangers := sets
	if documents.Enabled {
		clients.Documents = registration.NewDocuments(registration.DocumentsOptions{
			URLs: urls, Redirects: redirects, KeySets: sets, AllowQuery: documents.AllowQuery, Grants: grants, Now: opt.Now,
		})
	} else {
		strangers = nil // nothing that a stranger names is fetched
	}
	if cfg.Registration.Dynamic.Enabled {
		clients.Dynamic = &registration.Dynamic{Redirects: redirects, Keys: sealing, KeySets: strangers, Now: opt.Now, Grants: grants, RefreshOff: !cfg.Tokens.Refresh.Enabled, Pushed: cfg.Pushed.Enabled}
	}
	return clients, nil
}

// keyMaterial returns the secrets for sealing and the sources of signing keys.
func keyMaterial(c keyset.Settings) (secrets [][]byte, sources []keyset.Source) {
	if c.Source != "seed" {
		secret := make([]byte, 32)
		rand.Read(secret)
		return [][]byte{secret}, []keyset.Source{keyset.Ephemeral{}}
	}
	for _, s := range c.Seeds {
		secret := []byte(s.Reveal())
		secrets = append(secrets, secret)
		sources = append(sources, keyset.Seed{Secret: secret, Period: c.Rotation})
	}
	return secrets, sources
}

// identityProviders makes the providers of the configuration.
func identityProviders(list []connector.Config, now func() time.Time, client func(connector.Config) *http.Client, watched func(connector.Config) watch, known func(connector.Config, connector.Connector), follow func(id, usersFile string, c *static.Connector)) (provider.Set, error) {
	var set provider.Set
	for _, p := range list {
		browser, password, err := p.Settings.New(p.Unused, client(p))
		if err != nil {
			return nil, err
		}
		known(p, browser)
		if s, ok := p.Settings.(*static.Settings); ok && s.UsersFile != "" {
			follow(p.ID, s.UsersFile, password.(*static.Connector))
		}
		w := watched(p)
		set = append(set, provider.New(p, w.browser(browser), w.password(password)).Clocked(now))
	}
	return set, nil
}

// users puts the content of a users file in force at c.
func users(c *static.Connector) func([]byte) (int, error) {
	return func(data []byte) (int, error) {
		list, err := static.ParseUsers(data)
		if err != nil {
			return 0, err
		}
		return len(list), c.Replace(list)
	}
}

// usersLoaded reports the outcome of reading a users file again.
func usersLoaded(log *audit.Log, m *metrics, provider string) func(int, error) {
	return func(users int, err error) {
		entry := audit.Entry{Event: audit.UsersLoaded, Name: provider}
		if err != nil {
			entry.Event, entry.Cause = audit.UsersBroken, err
		}
		m.usersFile(provider, err)
		log.Write(context.Background(), entry)
	}
}

// denyListLoaded reports the outcome of reading the deny-list again.
func denyListLoaded(log *audit.Log, m *metrics) func(int, error) {
	return func(entries int, err error) {
		entry := audit.Entry{Event: audit.DenyListLoaded}
		if err != nil {
			entry.Event, entry.Cause = audit.DenyListBroken, err
		}
		m.denyList(entries, err)
		log.Write(context.Background(), entry)
	}
}

// apiKeysLoaded reports the outcome of reading the file of API keys again.
func apiKeysLoaded(keys *apikey.Store, log *audit.Log, m *metrics) func(int, error) {
	return func(_ int, err error) {
		entry := audit.Entry{Event: audit.APIKeysLoaded}
		if err != nil {
			entry.Event, entry.Cause = audit.APIKeysBroken, err
		}
		m.apiKeys(keys.Len(), err)
		log.Write(context.Background(), entry)
	}
}

// opens tells the policy which tools a scope opens, by the latest list.
func opens(catalogues *catalog.Cache) policy.Opens {
	return func(uri, scope string) (tools []string, known bool) {
		c := catalogues.Peek(uri)
		if c.Unavailable {
			return nil, false
		}
		if scope == catalog.DefaultScope && !c.Declared {
			return []string{"*"}, true // listed or not
		}
		s, _ := c.Scope(scope)
		return s.Tools, true
	}
}

func targets(table *resource.Table) []catalog.Target {
	var out []catalog.Target
	for _, r := range table.All() {
		out = append(out, catalog.Target{Key: r.URI, Endpoint: r.Endpoint.String(), Scopes: r.Rules.Scopes})
	}
	return out
}
