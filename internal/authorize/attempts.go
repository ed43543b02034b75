package authorize

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Attempts bounds the passwords tried for each user name at each host, so that
// no one can guess for long and no stranger's guesses keep the user out: a
// browser in which that user has signed in before counts for itself (OWASP's
// device cookies), and so does each address, if it is known, of the others.
type Attempts struct {
	// Near bounds what one browser, or one address, tries for one name; Name what
	// all addresses together do. Nil is no limit.
	Near, Name *limit.Limiter
	// Source names the address class of a request, "" where none is known.
	Source func(*http.Request) string
}

// knownBrowser is what a browser gets in which a user has signed in with a
// password. It opens nothing; it only counts apart from what others try.
type knownBrowser struct {
	Who string `json:"who"` // provider and user name
	ID  string `json:"id"`
}

const (
	knownCookie = "mcp-known"
	knownTTL    = 90 * 24 * time.Hour
)

// attempt is one password tried.
type attempt struct {
	near, name string // keys; no name for a known browser
	limits     Attempts
}

// begin counts an attempt, before the password is looked at, so that guesses at
// the same time count too. who is what was typed, so that the answer does not
// tell who exists.
func (a Attempts) begin(r *http.Request, host *resource.Host, known, who string) (t attempt, ok bool, wait time.Duration) {
	t.limits = a
	if known != "" {
		t.near = "known " + known
	} else {
		t.name = host.Name + " " + who
		t.near = t.name
		if a.Source != nil {
			t.near = a.Source(r) + " " + t.name
		}
	}
	if ok, wait := a.Near.Allow(t.near); !ok {
		return t, false, wait
	}
	if t.name != "" {
		if ok, wait := a.Name.Allow(t.name); !ok {
			a.Near.Return(t.near)
			return t, false, wait
		}
	}
	return t, true, 0
}

// authenticate checks the password. To wait for that has bounds of its own, so
// meanwhile the request takes no place of others.
func (t attempt) authenticate(ctx context.Context, p *provider.Provider, username, password string) (who connector.Identity, err error) {
	if t.name == "" {
		ctx = connector.Returning(ctx)
	}
	web.Aside(ctx, func() { who, err = p.Authenticate(ctx, username, password) })
	return who, err
}

// undo takes the attempt back: only wrong passwords are to be few.
func (t attempt) undo() {
	t.limits.Near.Return(t.near)
	if t.name != "" {
		t.limits.Name.Return(t.name)
	}
}

// knownAs returns the id of the browser if who has signed in there before.
func (s Steps) knownAs(r *http.Request, host *resource.Host, who string) string {
	cookies := r.CookiesNamed(cookieName(host, knownCookie))
	if len(cookies) != 1 {
		return ""
	}
	b, err := s.known.Open(cookies[0].Value, host.Issuer)
	if err != nil || b.Who != who {
		return ""
	}
	return b.ID
}

// makeKnown remembers in the browser that who has signed in there. What cannot
// be remembered only counts with the others.
func (s Steps) makeKnown(w http.ResponseWriter, host *resource.Host, who string) {
	sealed, err := s.known.Seal(knownBrowser{who, rand.Text()}, s.now().Add(knownTTL), host.Issuer)
	if err == nil {
		setCookie(w, host, knownCookie, sealed, knownTTL)
	}
}
