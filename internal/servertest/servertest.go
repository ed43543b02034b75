// Package servertest runs the whole service inside a test and plays the parties
// around it: the MCP client, the person's browser and the gateway. Its
// invariant: like them it sees the service only over HTTP, by its public URLs;
// nothing is replaced but the clock, and identity providers are the fakes of
// oauthtest. Only tests import it.
package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf/conftest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/github"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// What the default configuration names.
const (
	Host     = "mcp.example.com"
	Resource = "https://" + Host + "/mcp"
	Username = "jane"
	Password = "correct horse battery"
	Email    = "jane@example.com"
	// passwordHash is Password at the lowest cost that the configuration admits.
	passwordHash = "$2a$10$zMhjRG5dUfn2fasBODR5i.xuXvHtpddYA8HLk2W8v7S3tSMP5KcCG"
)

// Options are how one service differs from the default: one host with the
// sample MCP server, the static provider with one user, keys from a seed, so
// that a restart changes nothing.
type Options struct {
	// Text is a whole configuration file, instead of the default and of Edit.
	Text []byte
	// Edit changes the configuration file; nil leaves it.
	Edit func(*config.File)
	// Files are what the configuration names besides "seed".
	Files map[string]string
	// HTTPClient reaches the identity provider; nil is the network.
	HTTPClient *http.Client
	// Network reaches what clients publish, see egresstest; zero is the network.
	Network egress.Network
	// Gateways is what the gate watch asks; nil is the network.
	Gateways http.RoundTripper
	// Clock is the service's; a new one if nil.
	Clock *Clock
	// Spans takes what the service traces, where the configuration has it trace.
	Spans sdktrace.SpanExporter
}

// Service is a running service. Start makes one.
type Service struct {
	Clock *Clock
	// Log is everything written at debug level and above.
	Log *Log
	// MCPServer is the URL of the sample MCP server behind the default host.
	MCPServer string

	t       testing.TB
	config  *config.Config
	http    *http.Client
	network egress.Network
	spans   sdktrace.SpanExporter
	gates   http.RoundTripper

	mu   sync.Mutex
	live *process
}

// process is one run of the service.
type process struct {
	server                     *server.Server
	protocol, management, grpc string // addresses
	stop                       context.CancelFunc
	done                       chan error
}

// Start runs a service until the test ends. A configuration with a mistake
// ends the test.
func Start(t testing.TB, o Options) *Service {
	t.Helper()
	s := &Service{Clock: o.Clock, Log: new(Log), t: t, http: o.HTTPClient, network: o.Network, spans: o.Spans, gates: o.Gateways, MCPServer: sampleServer(t)}
	if s.Clock == nil {
		s.Clock = new(Clock)
	}
	cfg, err := s.load(o)
	if err != nil {
		t.Fatalf("configuration: %v", err)
	}
	s.config = cfg
	s.live = s.run()
	t.Cleanup(func() {
		s.Stop()
		s.Log.check(t)
	})
	return s
}

// Restart ends the process and starts another with the same configuration.
// Browsers and clients go on as if nothing had happened.
func (s *Service) Restart() {
	s.t.Helper()
	s.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = s.run()
}

// Reload puts another configuration in force while the service runs.
func (s *Service) Reload(o Options) error {
	s.t.Helper()
	cfg, err := s.load(o)
	if err != nil {
		return err
	}
	if err := s.process().server.Reload(cfg); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config = cfg
	return nil
}

// MustReload is Reload of a configuration that is good.
func (s *Service) MustReload(o Options) {
	s.t.Helper()
	if err := s.Reload(o); err != nil {
		s.t.Fatalf("reload: %v", err)
	}
}

// Stop drains the process as a SIGTERM would and fails the test if that is not clean.
func (s *Service) Stop() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return
	}
	s.live.stop()
	if err := <-s.live.done; err != nil {
		s.t.Errorf("the service ended with: %v", err)
	}
	s.live = nil
}

// Replica starts a second process with the same configuration and clock. Use
// Browser.On and Client.On to talk to it.
func (s *Service) Replica() *Service {
	s.t.Helper()
	r := &Service{Clock: s.Clock, Log: s.Log, MCPServer: s.MCPServer, t: s.t, config: s.config, http: s.http, network: s.network, gates: s.gates}
	r.live = r.run()
	s.t.Cleanup(r.Stop)
	return r
}

// Issuer returns the issuer of a host.
func Issuer(host string) string { return "https://" + host }

// NewHost is an entry of proxy.hosts with nothing but what it needs.
func NewHost(host, endpoint string) (f config.HostFile) {
	conf.SetDefaults(&f)
	f.Host, f.Endpoint = host, endpoint
	return f
}

// load makes the configuration by the way an operator's file takes.
func (s *Service) load(o Options) (*config.Config, error) {
	var f config.File
	conf.SetDefaults(&f)
	f.Provider = config.ProviderFile{Name: "static", Settings: &static.Settings{Users: []static.User{
		{Username: Username, PasswordHash: conf.NewSecret(passwordHash), Email: Email, Name: "Jane Doe", Groups: []string{"engineering", "on call"}},
	}}}
	f.Proxy.Hosts = []config.HostFile{NewHost(Host, s.MCPServer+"/mcp")}
	f.Proxy.Hosts[0].DisplayName = "Team notes"
	f.Keys.Source, f.Keys.SeedFiles = "seed", []string{"seed"}
	if o.Edit != nil {
		o.Edit(&f)
	}
	text, err := json.Marshal(conftest.Document(f)) // JSON is YAML
	if err != nil {
		return nil, err
	}
	if o.Text != nil {
		text = o.Text
	}
	return config.Parse(text, func(name string) ([]byte, error) {
		if content, ok := o.Files[name]; ok {
			return []byte(content), nil
		}
		if name == "seed" {
			return []byte(strings.Repeat("a seed for tests", 4)), nil
		}
		return nil, fs.ErrNotExist
	})
}

func (s *Service) run() *process {
	s.t.Helper()
	srv, err := server.New(s.config, server.Options{
		Logger:  slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version: "test", Now: s.Clock.Now, HTTPClient: s.http, Network: s.network, SpanExporter: s.spans, Gateways: s.gates,
	})
	if err != nil {
		s.t.Fatalf("server.New: %v", err)
	}
	protocol, management := listen(s.t), listen(s.t)
	ctx, stop := context.WithCancel(context.Background())
	p := &process{server: srv, protocol: protocol.Addr().String(), management: management.Addr().String(), stop: stop, done: make(chan error, 1)}
	listeners := server.Listeners{Protocol: protocol, Management: management}
	if s.config.Listen.GRPC != "" {
		listeners.GRPC = listen(s.t)
		p.grpc = listeners.GRPC.Addr().String()
	}
	go func() { p.done <- srv.Serve(ctx, listeners) }()
	return p
}

// GRPC is the address of the gRPC listener, "" where the configuration has none.
func (s *Service) GRPC() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live.grpc
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// sampleServer is one MCP server for all tests of a binary: it has no state that matters.
func sampleServer(t testing.TB) string {
	t.Helper()
	srv := httptest.NewServer(http.StripPrefix("/mcp", sample.Handler(sample.Options{Stateless: true})))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

// App is this service as the fakes of oauthtest know it.
func App() upstream.App {
	return upstream.App{ClientID: oauthtest.ClientID, ClientSecretFile: "client-secret"}
}

// UseOIDC makes p the identity provider of the configuration.
func UseOIDC(p *oauthtest.OIDCProvider) func(*config.File) {
	return func(f *config.File) {
		f.Provider = config.ProviderFile{Name: "oidc", Settings: &oidc.Settings{IssuerURL: p.Issuer, KeyedApp: upstream.KeyedApp{App: App()}}}
	}
}

// UseGitHub makes g the identity provider of the configuration.
func UseGitHub(g *oauthtest.GitHub) func(*config.File) {
	return func(f *config.File) {
		f.Provider = config.ProviderFile{Name: "github", Settings: &github.Settings{BaseURL: g.URL, App: App()}, AllowedEmailDomains: []string{`example\.com`}}
	}
}

// UseSeveral makes the providers that edits would make the only one choices
// under these ids, in this order.
func UseSeveral(ids []string, edits ...func(*config.File)) func(*config.File) {
	return func(f *config.File) {
		first := f.Provider
		for i, edit := range edits {
			f.Provider = first
			edit(f)
			f.Provider.ID = ids[i]
			f.Providers = append(f.Providers, f.Provider)
		}
		f.Provider = config.ProviderFile{}
	}
}

// ProviderFiles are the files that UseOIDC and UseGitHub name.
var ProviderFiles = map[string]string{"client-secret": oauthtest.ClientSecret}

// Edits applies several edits in order.
func Edits(edits ...func(*config.File)) func(*config.File) {
	return func(f *config.File) {
		for _, edit := range edits {
			edit(f)
		}
	}
}

// Clock is real time plus what was added to it.
type Clock struct {
	mu     sync.Mutex
	added  time.Duration
	frozen time.Time // zero if it runs
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen.IsZero() {
		return c.frozen.Add(c.added)
	}
	return time.Now().Add(c.added)
}

// Freeze stops the clock, which from then on only Advance moves: for what a
// slow machine would change.
func (c *Clock) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = time.Now()
}

// Advance moves the clock; a negative duration sets it back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.added += d
}

// Log is a service's log.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Entries returns the audit entries so far, as written.
func (l *Log) Entries() []map[string]string {
	var out []map[string]string
	for line := range strings.Lines(l.String()) {
		var record struct{ Audit map[string]string }
		if json.Unmarshal([]byte(line), &record) == nil && record.Audit != nil {
			out = append(out, record.Audit)
		}
	}
	return out
}

// Last returns the last audit entry of an event, nil if there is none.
func (l *Log) Last(event audit.Event) map[string]string {
	for _, e := range slices.Backward(l.Entries()) {
		if e["event"] == string(event) {
			return e
		}
	}
	return nil
}

// check holds each entry to the closed sets.
func (l *Log) check(t testing.TB) {
	t.Helper()
	var problems []error
	fields := map[string]bool{}
	for _, f := range audit.Fields {
		fields[f.Name] = true
	}
	for _, e := range l.Entries() {
		for name := range e {
			if !fields[name] {
				problems = append(problems, errors.New("field "+name))
			}
		}
		if e["schema"] != audit.Schema {
			problems = append(problems, errors.New("an entry without its schema: "+e["event"]))
		}
		if !slices.Contains(audit.Events, audit.Event(e["event"])) {
			problems = append(problems, errors.New("event "+e["event"]))
		}
		if e["reason"] != "" && reasons.Reason(e["reason"]).Meaning() == "" {
			problems = append(problems, errors.New("reason "+e["reason"]))
		}
	}
	if err := errors.Join(problems...); err != nil {
		t.Errorf("the audit log has words that package audit does not list:\n%v", err)
	}
}
