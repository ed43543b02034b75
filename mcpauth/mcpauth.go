// Package mcpauth puts mcp-forward-auth into the program of an MCP server: sign-in,
// consent, tokens, policy and the filter of lists, from the same configuration file as
// the service, in front of a handler of net/http.
//
// An entry of proxy.hosts leads to the program itself where its endpoint is at the host
// InProcess and it is served:
//
//	proxy:
//	  hosts:
//	    - host: mcp.example.com
//	      endpoint: http://in-process/mcp
//	      serve: {enabled: true}
//
// The handler gets the requests that may pass, without the client's token, and finds
// who asks by FromContext. There is no global state: a program may open several.
package mcpauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// InProcess is the host of endpoints that lead to the handler of Middleware.
const InProcess = "in-process"

// Principal is who a request is of, as the service has checked it.
type Principal struct {
	// Subject is the provider's namespace and its stable id of the person.
	Subject string
	// Email is the verified e-mail address, "" where there is none.
	Email string
	// Name is what the person calls themselves, "" where it is not known.
	Name string
	// Groups of the person; groupsFilter of the provider may leave some out.
	Groups []string
	// Client is the id of the MCP client, shortened where it is long.
	Client string
	// Scopes that the person agreed to.
	Scopes []string
	// Actors act for the person, the one who acts now first; none where the client does.
	Actors []string
}

// Options are what the configuration file does not say.
type Options struct {
	// Config is the path of the configuration file.
	Config string
	// Logger gets the log and, unless audit.file is set, the audit log; slog.Default if nil.
	Logger *slog.Logger
}

// Auth is the service inside a program. Open makes one.
type Auth struct {
	server *server.Server
	names  outbound.Headers
	pipes  chan net.Conn
	done   chan struct{}
}

// Open reads the configuration and makes the service. Every mistake in the file is in
// the error, with its path. It listens on nothing: listen is not used.
func Open(o Options) (*Auth, error) {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Config, err)
	}
	inside := 0
	for _, h := range cfg.Hosts {
		if h.Endpoint.Hostname() == InProcess {
			if inside++; h.Serving == nil {
				return nil, fmt.Errorf("%s: the host %s leads to this program and is not served: set serve.enabled", o.Config, h.Host)
			}
		}
	}
	if inside == 0 {
		return nil, fmt.Errorf("%s: no entry of proxy.hosts leads to this program: its endpoint is http://%s/PATH", o.Config, InProcess)
	}
	names := &cfg.IdentityHeaders // the handler sees none of them
	for _, n := range []struct {
		name  *string
		title string
	}{{&names.Name, "Name"}, {&names.Client, "Client"}, {&names.Scope, "Scope"}, {&names.Actor, "Actor"}} {
		*n.name = cmp.Or(*n.name, "X-Auth-In-Process-"+n.title)
	}
	a := &Auth{names: *names, pipes: make(chan net.Conn), done: make(chan struct{})}
	a.server, err = server.New(cfg, server.Options{Logger: cmp.Or(o.Logger, slog.Default()), Dial: a.dial})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// dial reaches the handler of Middleware, and other MCP servers over the network.
func (a *Auth) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err != nil || host != InProcess {
		return (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, network, address)
	}
	here, there := net.Pipe()
	select {
	case a.pipes <- there:
		return here, nil
	case <-a.done:
		return nil, errors.New("the program stops")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Run does what goes on besides answering: keys rotate, tools are listed again. It
// returns when ctx ends and what is under way has ended, within bounds. It is called once.
func (a *Auth) Run(ctx context.Context) error {
	defer close(a.done)
	return a.server.Embed(ctx)
}

// Middleware returns the handler of the public address: it answers the endpoints of
// OAuth, and hands to next what may reach the MCP server. It is called once.
func (a *Auth) Middleware(next http.Handler) http.Handler {
	inside := &http.Server{Handler: a.identified(next), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 1 << 20}
	go func() { _ = inside.Serve(pipes{a}) }() // until done
	return a.server.Protocol
}

// Management returns the handler of /metrics, /healthz, /readyz and /debug/flows, for an
// address that the public does not reach.
func (a *Auth) Management() http.Handler { return a.server.Management }

// pipes are the connections that dial makes, as a listener.
type pipes struct{ *Auth }

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.pipes:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return &net.UnixAddr{Name: InProcess, Net: "pipe"} }

type contextKey struct{}

// FromContext returns who the request of a context is of. ok is false where no request
// passed the service, as in one that it made itself to list the tools.
func FromContext(ctx context.Context) (p Principal, ok bool) {
	p, ok = ctx.Value(contextKey{}).(Principal)
	return p, ok
}

// identified puts the principal where FromContext and the Go SDK find it. Only the
// service can reach it.
func (a *Auth) identified(next http.Handler) http.Handler {
	verified := auth.RequireBearerToken(a.Verify, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		relayed := r.Header.Values(a.names.User) != nil
		p := a.principal(r.Header)
		switch {
		case !relayed: // the service itself, which lists the tools
			next.ServeHTTP(w, r)
			return
		case p.Subject == "":
			http.Error(w, "the request is of an unknown person", http.StatusForbidden)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), contextKey{}, p))
		if r.Header.Get("Authorization") == "" { // the provider's token, where the entry asks for it, stays
			r.Header.Set("Authorization", "Bearer "+InProcess)
			verified.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Verify is an auth.TokenVerifier of the Go SDK for handlers behind Middleware, which
// has checked the token: it says whose the request is.
func (a *Auth) Verify(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
	p, ok := FromContext(ctx)
	if !ok {
		return nil, auth.ErrInvalidToken
	}
	return &auth.TokenInfo{Scopes: p.Scopes, UserID: p.Subject, Expiration: time.Now().Add(time.Minute), Extra: map[string]any{"principal": p}}, nil
}

// principal reads the identity headers, and takes them away.
func (a *Auth) principal(h http.Header) (p Principal) {
	take := func(name string) string {
		value := h.Get(name)
		h.Del(name)
		if value == "-" {
			return ""
		}
		return value
	}
	list := func(name string) (all []string) {
		for part := range strings.SplitSeq(take(name), ",") {
			if part != "" {
				all = append(all, decoded(part))
			}
		}
		return all
	}
	p = Principal{
		Subject: decoded(take(a.names.User)), Email: decoded(take(a.names.Email)), Name: decoded(take(a.names.Name)),
		Groups: list(a.names.Groups), Client: decoded(take(a.names.Client)), Actors: list(a.names.Actor),
	}
	p.Scopes = strings.Fields(decoded(take(a.names.Scope)))
	for _, name := range a.names.Names() {
		h.Del(name)
	}
	return p
}

// decoded undoes the percent-encoding of identity headers (docs/identity.md).
func decoded(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}
