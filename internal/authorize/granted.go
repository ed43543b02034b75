package authorize

import (
	"net/http"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

const (
	grantedCookie = "mcp-granted"
	grantedTTL    = 90 * 24 * time.Hour
	maxRemembered = 5        // clients and resources
	maxRememberBy = 1 << 10  // bytes of scopes
	maxGranted    = 3 * 1024 // bytes of the cookie
)

// granted is what this browser's last sign-in gave one client at one resource.
// It decides nothing: the consent page uses it to mark what is new when a
// client comes back for more.
type granted struct {
	Client   string       `json:"c"`
	Resource string       `json:"r"`
	Scopes   oauth.Scopes `json:"s"`
	// Withheld is what the rules did not give the person then.
	Withheld oauth.Scopes `json:"w,omitempty"`
}

// remembered returns what this browser granted the client of p at p's resource.
func (s Steps) remembered(r *http.Request, host *resource.Host, p pending) oauth.Scopes {
	for _, g := range s.grants(r, host) {
		if g.Client == p.ClientKey && g.Resource == p.Resource {
			return g.Scopes
		}
	}
	return nil
}

// withheld returns those scopes of p that the rules did not give at the last
// sign-in of this browser with the client of p.
func (s Steps) withheld(r *http.Request, host *resource.Host, p pending) oauth.Scopes {
	for _, g := range s.grants(r, host) {
		if g.Client == p.ClientKey && g.Resource == p.Resource {
			return p.Offered.Intersect(g.Withheld)
		}
	}
	return nil
}

func (s Steps) grants(r *http.Request, host *resource.Host) []granted {
	cookies := r.CookiesNamed(cookieName(host, grantedCookie))
	if len(cookies) != 1 {
		return nil
	}
	list, err := s.granted.Open(cookies[0].Value, host.Issuer)
	if err != nil {
		return nil
	}
	return list
}

// remember puts what was just granted first and drops the oldest. What does not
// fit is not remembered: then nothing is marked as new.
func (s Steps) remember(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, withheld oauth.Scopes) {
	list := slices.DeleteFunc(s.grants(r, host), func(g granted) bool {
		return g.Client == st.ClientKey && g.Resource == st.Resource
	})
	if len(st.Granted.String())+len(withheld.String()) <= maxRememberBy {
		list = slices.Insert(list, 0, granted{st.ClientKey, st.Resource, st.Granted, withheld})
	}
	list = list[:min(len(list), maxRemembered)]
	for ; len(list) > 0; list = list[:len(list)-1] {
		sealed, err := s.granted.Seal(list, s.now().Add(grantedTTL), host.Issuer)
		if err == nil && len(sealed) <= maxGranted {
			setCookie(w, host, grantedCookie, sealed, grantedTTL)
			return
		}
	}
}

// markNew marks the scopes that the client does not have yet, when it comes back
// for more: it has some of what it asks for, and not all.
func markNew(view *page.Consent, before oauth.Scopes) {
	has := func(s page.ConsentScope) bool { return before.Contains(s.Name) }
	lacks := func(s page.ConsentScope) bool { return !has(s) }
	if !slices.ContainsFunc(view.Scopes, has) || !slices.ContainsFunc(view.Scopes, lacks) {
		return
	}
	view.NewOnly = true
	for i, s := range view.Scopes {
		view.Scopes[i].New = lacks(s)
	}
}
