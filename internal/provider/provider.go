// Package provider is the set of identity providers that people sign in with.
// Its invariant: people of two providers are two people, whatever the providers
// say, because the id that the operator gave a provider is part of the
// subject's namespace. Connectors know nothing of it.
package provider

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
)

// Provider is one identity provider. Exactly one of Browser and Password is set;
// sign-ins go through Identify and Authenticate, which put its name on people.
type Provider struct {
	// ID is the operator's name for it, "" for the one of a configuration with one.
	ID string
	// Name is for people: "Google". "" for accounts of our own.
	Name     string
	Browser  connector.Connector
	Password connector.PasswordConnector
	// Gate says who of its people may sign in.
	Gate policy.Gate

	prefix string // of namespaces
	kept   bool
	client string // stands for the client that sessions are bound to
	now    func() time.Time
}

// New returns the provider that c describes.
func New(c connector.Config, browser connector.Connector, password connector.PasswordConnector) *Provider {
	return &Provider{ID: c.ID, Name: c.DisplayName, Browser: browser, Password: password, Gate: policy.NewGate(c), kept: c.KeepSubjects, prefix: Prefix(c), client: clientOf(c), now: time.Now}
}

// Prefix is what this provider's namespaces begin with: its id and a colon, or ""
// where subjects do not name the provider. No id has a colon, so no prefix is the
// beginning of another.
func Prefix(c connector.Config) string {
	if c.ID == "" || c.KeepSubjects {
		return ""
	}
	return c.ID + ":"
}

// clientOf is a short digest of the client id, "" where there is none. Tokens of one
// client are refused when another uses them, and a strict provider takes that for
// theft; so an id that the operator has changed ends a session without asking.
func clientOf(c connector.Config) string {
	app, ok := c.Settings.(interface{ Client() string })
	if !ok || app.Client() == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(app.Client()))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// Identify is connector.Connector's, with the identity in this provider's name.
func (p *Provider) Identify(ctx context.Context, login connector.Login, query url.Values) (connector.Identity, connector.Session, error) {
	id, session, err := p.Browser.Identify(ctx, login, query)
	return p.own(id), p.bound(session), err
}

// Clocked makes p measure the lives of tokens by another clock than time.Now.
func (p *Provider) Clocked(now func() time.Time) *Provider {
	p.now = now
	return p
}

// bound is s with the client that it is bound to, and with the end of what it got
// just now by this service's clock.
func (p *Provider) bound(s connector.Session) connector.Session {
	if s.IsZero() {
		return connector.Session{ID: s.ID}
	}
	s.Client = p.client
	if s.Life > 0 {
		s.Expires, s.Life = p.now().Unix()+s.Life, 0
	}
	return s
}

// Authenticate is connector.PasswordConnector's, with the identity in this provider's name.
func (p *Provider) Authenticate(ctx context.Context, username, password string) (connector.Identity, error) {
	id, err := p.Password.Authenticate(ctx, username, password)
	return p.own(id), err
}

// Recheck is connector.Rechecker's, of a person whom Identify or Authenticate
// returned. Identities of another provider are refused before any request: a
// session must never reach a provider that did not issue it.
func (p *Provider) Recheck(ctx context.Context, id connector.Identity, s connector.Session) (connector.Identity, connector.Session, error) {
	bare, ours := strings.CutPrefix(id.Namespace, p.prefix)
	if !ours {
		return connector.Identity{}, connector.Session{}, fmt.Errorf("%w: the person is not of provider %q", connector.ErrSessionOver, p.ID)
	}
	r, ok := p.rechecker()
	if !ok {
		return connector.Identity{}, connector.Session{}, fmt.Errorf("%w: the provider cannot be asked again", connector.ErrSessionOver)
	}
	if s.Client != "" && s.Client != p.client {
		return connector.Identity{}, connector.Session{}, fmt.Errorf("%w: clientID of provider %q was another then", connector.ErrSessionOver, p.ID)
	}
	s.Client = ""
	if hear := connector.ExchangeHeard(ctx); hear != nil {
		ctx = connector.OnExchange(ctx, func(s connector.Session) { hear(p.bound(s)) })
	}
	was := id.Namespace
	id.Namespace = bare
	now, session, err := r.Recheck(ctx, id, s)
	now, session = p.own(now), p.bound(session)
	if err == nil && now.Namespace != was { // keepSubjects or the issuer has changed
		return connector.Identity{}, connector.Session{}, fmt.Errorf("%w: people of provider %q were others then", connector.ErrSessionOver, p.ID)
	}
	return now, session, err
}

// Exchange is connector.Exchanger's.
func (p *Provider) Exchange(ctx context.Context, accessToken string, x connector.Exchange) (token string, life time.Duration, err error) {
	e, ok := p.Browser.(connector.Exchanger)
	if !ok {
		return "", 0, fmt.Errorf("%w: provider %q is of a kind that exchanges no tokens", connector.ErrMisconfigured, p.ID)
	}
	return e.Exchange(ctx, accessToken, x)
}

// LogoutURL is where a browser ends the person's session at the provider, "" where
// there is no such place, or it cannot be found out now.
func (p *Provider) LogoutURL(ctx context.Context) string {
	l, ok := p.Browser.(connector.Leaver)
	if !ok {
		return ""
	}
	target, err := l.LogoutURL(ctx)
	if err != nil {
		return ""
	}
	return target
}

// ReadLogout is connector.LogoutReader's, with the identity in this provider's name.
// ok is false where the provider sends no such tokens.
func (p *Provider) ReadLogout(ctx context.Context, token string) (l connector.Logout, ok bool, err error) {
	r, ok := p.Browser.(connector.LogoutReader)
	if !ok {
		return connector.Logout{}, false, nil
	}
	l, err = r.ReadLogout(ctx, token)
	l.Identity = p.own(l.Identity)
	return l, true, err
}

// MayRecheck reports whether there is anything to ask with: the provider can be
// asked again, and gave a session to do it with. People of this service's own
// login page need none.
func (p *Provider) MayRecheck(s connector.Session) bool {
	_, ok := p.rechecker()
	return ok && (p.Password != nil || !s.IsZero())
}

func (p *Provider) rechecker() (connector.Rechecker, bool) {
	if p.Password != nil {
		r, ok := p.Password.(connector.Rechecker)
		return r, ok
	}
	r, ok := p.Browser.(connector.Rechecker)
	return r, ok
}

func (p *Provider) own(id connector.Identity) connector.Identity {
	id.Provider = p.ID
	id.Namespace = p.prefix + id.Namespace
	return id
}

// Set is the configured providers, at least one, in the operator's order.
type Set []*Provider

// Find returns the provider with this id, nil if it is not configured. What was
// made while there was one provider names none: it is of the one that took over
// from it.
func (s Set) Find(id string) *Provider {
	for _, p := range s {
		if p.ID == id || id == "" && p.kept {
			return p
		}
	}
	return nil
}

// Only returns the provider where there is one, so that the user need not choose.
func (s Set) Only() *Provider {
	if len(s) == 1 {
		return s[0]
	}
	return nil
}
