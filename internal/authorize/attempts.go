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

// Attempts bounds the passwords that are tried for each user name at each host, so that
// no one can guess for long, and no stranger's guesses keep the person out. A browser in
// which that person has signed in before has a count of its own (OWASP, device cookies);
// of the others, each address has one, if it is known. Device codes are bounded in the
// same way.
type Attempts struct {
	// Near bounds what one browser, or one address, tries for one name. Name bounds what
	// all addresses together try for it. Nil is no limit.
	Near, Name *limit.Limiter
	// Source returns the address of a request, or its network; "" if it is not known.
	Source func(*http.Request) string
}

// knownBrowser is the content of the cookie of a browser in which a person has signed in
// with a password. It gives no access. It only makes the browser's tries count apart from
// those of others.
type knownBrowser struct {
	Who string `json:"who"` // the provider's id and the user name
	ID  string `json:"id"`
}

const (
	knownCookie = "mcp-known"
	knownTTL    = 90 * 24 * time.Hour
)

// attempt is one try of a password or a code.
type attempt struct {
	near, name string // keys of the limiters; name is "" for a known browser
	limits     Attempts
}

// begin counts a try before the password is checked, so that tries at the same time count
// too. known is the id of a known browser, "" for others. who is the name as it was
// typed, so that the answer does not tell who exists.
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

// authenticate checks the password. The wait for that has bounds of its own, so the
// request gives its place among the requests in flight to others meanwhile.
func (t attempt) authenticate(ctx context.Context, p *provider.Provider, username, password string) (who connector.Identity, err error) {
	if t.name == "" {
		ctx = connector.Returning(ctx)
	}
	web.Aside(ctx, func() { who, err = p.Authenticate(ctx, username, password) })
	return who, err
}

// undo takes the try back: only wrong passwords and codes count.
func (t attempt) undo() {
	t.limits.Near.Return(t.near)
	if t.name != "" {
		t.limits.Name.Return(t.name)
	}
}

// knownAs returns the id of the browser if who has signed in there before, else "".
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

// makeKnown notes in the browser that who has signed in there. If that fails, the browser
// counts like any other.
func (s Steps) makeKnown(w http.ResponseWriter, host *resource.Host, who string) {
	sealed, err := s.known.Seal(knownBrowser{who, rand.Text()}, s.now().Add(knownTTL), host.Issuer)
	if err == nil {
		setCookie(w, host, knownCookie, sealed, knownTTL)
	}
}
