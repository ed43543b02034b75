package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/flows"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
)

// observed passes an audit entry to all observers.
func observed(m *metrics, flows *atomic.Pointer[flows.Log], t *tracing.Tracer) func(context.Context, audit.Entry) {
	return func(ctx context.Context, e audit.Entry) {
		m.event(e)
		t.Note(ctx, e)
		if f := flows.Load(); f != nil {
			f.Add(e)
		}
	}
}

// The calls of an identity provider and how they end; closed sets.
const (
	opAuthorizationURL = "authorization_url"
	opIdentify         = "identify"
	opAuthenticate     = "authenticate"
	opRecheck          = "recheck"
	opExchange         = "exchange"
)

var (
	providerOperations = []string{opAuthorizationURL, opIdentify, opAuthenticate, opRecheck, opExchange}
	providerResults    = []string{"ok", "cancelled", "rejected", "not_allowed", "gone", "session_over", "misconfigured", "unavailable", "error"}
)

// providerResult sorts errors by their origin: the person, the provider, or this
// service.
func providerResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, connector.ErrCancelled):
		return "cancelled"
	case errors.Is(err, connector.ErrNotAllowed):
		return "not_allowed"
	case errors.Is(err, connector.ErrGone):
		return "gone"
	case errors.Is(err, connector.ErrSessionOver):
		return "session_over"
	case errors.Is(err, connector.ErrMisconfigured):
		return "misconfigured"
	case errors.Is(err, connector.ErrRejected):
		return "rejected"
	case errors.Is(err, connector.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return "unavailable"
	}
	return "error"
}

// watch is called before a request to a provider; the function it returns is called
// with the outcome.
type watch func(ctx context.Context, operation string) (context.Context, func(error))

// browser returns c watched. Like c it is a connector.Rechecker, or not.
func (w watch) browser(c connector.Connector) connector.Connector {
	if c == nil {
		return nil
	}
	if r, ok := c.(connector.Rechecker); ok {
		return struct {
			watchedBrowser
			watchedRecheck
		}{watchedBrowser{c, w}, watchedRecheck{r, w}}
	}
	return watchedBrowser{c, w}
}

// password does the same for accounts of our own.
func (w watch) password(c connector.PasswordConnector) connector.PasswordConnector {
	if c == nil {
		return nil
	}
	if r, ok := c.(connector.Rechecker); ok {
		return struct {
			watchedPassword
			watchedRecheck
		}{watchedPassword{c, w}, watchedRecheck{r, w}}
	}
	return watchedPassword{c, w}
}

type watchedBrowser struct {
	next connector.Connector
	watch
}

func (w watchedBrowser) AuthorizationURL(ctx context.Context, login connector.Login) (string, error) {
	ctx, done := w.watch(ctx, opAuthorizationURL)
	target, err := w.next.AuthorizationURL(ctx, login)
	done(err)
	return target, err
}

// Exchange implements connector.Exchanger for every watched connector; it refuses if
// the connector does not implement it.
func (w watchedBrowser) Exchange(ctx context.Context, accessToken string, x connector.Exchange) (string, time.Duration, error) {
	exchanger, ok := w.next.(connector.Exchanger)
	if !ok {
		return "", 0, fmt.Errorf("%w: this kind of provider exchanges no tokens", connector.ErrMisconfigured)
	}
	ctx, done := w.watch(ctx, opExchange)
	token, life, err := exchanger.Exchange(ctx, accessToken, x)
	done(err)
	return token, life, err
}

// ReadLogout implements connector.LogoutReader for those that are one.
func (w watchedBrowser) ReadLogout(ctx context.Context, token string) (connector.Logout, error) {
	if r, ok := w.next.(connector.LogoutReader); ok {
		return r.ReadLogout(ctx, token)
	}
	return connector.Logout{}, connector.ErrRejected
}

// LogoutURL implements connector.Leaver for those that are one. It is not watched: no
// sign-in depends on it.
func (w watchedBrowser) LogoutURL(ctx context.Context) (string, error) {
	if l, ok := w.next.(connector.Leaver); ok {
		return l.LogoutURL(ctx)
	}
	return "", nil
}

func (w watchedBrowser) Identify(ctx context.Context, login connector.Login, query url.Values) (connector.Identity, connector.Session, error) {
	ctx, done := w.watch(ctx, opIdentify)
	identity, session, err := w.next.Identify(ctx, login, query)
	done(err)
	return identity, session, err
}

type watchedPassword struct {
	next connector.PasswordConnector
	watch
}

func (w watchedPassword) Authenticate(ctx context.Context, username, password string) (connector.Identity, error) {
	ctx, done := w.watch(ctx, opAuthenticate)
	identity, err := w.next.Authenticate(ctx, username, password)
	done(err)
	return identity, err
}

type watchedRecheck struct {
	again connector.Rechecker
	watch watch
}

func (w watchedRecheck) Recheck(ctx context.Context, who connector.Identity, session connector.Session) (connector.Identity, connector.Session, error) {
	ctx, done := w.watch(ctx, opRecheck)
	identity, next, err := w.again.Recheck(ctx, who, session)
	done(err)
	return identity, next, err
}

// tracedFetch puts a span around each question to an MCP server.
func tracedFetch(t *tracing.Tracer, next func(context.Context, string) (*catalog.Catalogue, error)) func(context.Context, string) (*catalog.Catalogue, error) {
	if t == nil {
		return next
	}
	return func(ctx context.Context, endpoint string) (*catalog.Catalogue, error) {
		ctx, done := t.Call(ctx, "catalogue", "fetch", attribute.String("server.address", hostOf(endpoint)))
		c, err := next(ctx, endpoint)
		result := catalog.ResultOK
		if failure, ok := errors.AsType[*catalog.Error](err); ok {
			result = failure.Result
		}
		done(result, err != nil)
		return c, err
	}
}

func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

// tracedGuard puts a span around each call of the guard.
type tracedGuard struct {
	guard.Guard
	tracer *tracing.Tracer
}

func (g tracedGuard) Redeem(ctx context.Context, id string, expires time.Time) (bool, error) {
	ctx, done := g.tracer.Call(ctx, "guard", "redeem")
	first, err := g.Guard.Redeem(ctx, id, expires)
	done(guardResult(err), errors.Is(err, guard.ErrUnavailable))
	return first, err
}

func (g tracedGuard) Rotate(ctx context.Context, r guard.Rotation, next guard.Next) (string, error) {
	ctx, done := g.tracer.Call(ctx, "guard", "rotate")
	answer, err := g.Guard.Rotate(ctx, r, next)
	done(guardResult(err), errors.Is(err, guard.ErrUnavailable))
	return answer, err
}

func guardResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, guard.ErrUnavailable):
		return "unavailable"
	}
	return "refused"
}
