package authorize

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/refusal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

const (
	grantedCookie = "mcp-granted"
	grantedTTL    = 90 * 24 * time.Hour
	maxRemembered = 5   // sign-ins
	maxGranted    = 800 // bytes of the cookie, which is in the same answer as a code
	markSize      = 4
)

// granted is what this browser's last sign-in gave one client at one resource. The
// consent page uses it to mark what is new when a client asks for more. No decision
// depends on it, so a few bits of each scope's hash are enough.
type granted struct {
	Client   string `json:"c"`
	Resource string `json:"r"`
	// Person is refusal.Person of the person who signed in.
	Person string `json:"p,omitempty"`
	Scopes marks  `json:"s"`
	// Withheld is what the rules denied the person then.
	Withheld marks `json:"w,omitempty"`
	// Agreed is what the person agreed to, see catalog.Agree; "" if it is not known.
	Agreed string `json:"a,omitempty"`
}

// marks are short hashes of scopes, markSize bytes each.
type marks string

func marksOf(scopes oauth.Scopes) marks {
	var b strings.Builder
	for _, s := range scopes {
		b.WriteString(mark(s))
	}
	return marks(b.String())
}

func mark(scope string) string {
	sum := sha256.Sum256([]byte(scope))
	return base64.RawURLEncoding.EncodeToString(sum[:markSize])[:markSize]
}

// of returns those of scopes that are in m.
func (m marks) of(scopes oauth.Scopes) oauth.Scopes {
	known := map[string]bool{}
	for ; len(m) >= markSize; m = m[markSize:] {
		known[string(m[:markSize])] = true
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !known[mark(s)] })
}

// remembered returns what this browser's last sign-in gave the client of p at its
// resource; the zero value if that is not known.
func (s Steps) remembered(r *http.Request, host *resource.Host, p pending) granted {
	for _, g := range s.grants(r, host) {
		if g.Client == p.ClientKey && g.Resource == oauth.ClientKey(p.Resource) {
			return g
		}
	}
	return granted{}
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

// remember puts what was just granted at the front of the cookie, and drops the oldest.
// If that does not fit into room bytes, it leaves out which tools the person agreed to,
// then earlier sign-ins, and at last this one.
func (s Steps) remember(w http.ResponseWriter, r *http.Request, host *resource.Host, g granting, room int) {
	about := oauth.ClientKey(g.Resource)
	list := slices.DeleteFunc(s.grants(r, host), func(before granted) bool {
		return before.Client == g.ClientKey && before.Resource == about
	})
	list = slices.Insert(list, 0, granted{g.ClientKey, about, refusal.Person(g.entry.Subject), marksOf(g.Granted), marksOf(g.withheld), g.agreed})
	list = list[:min(len(list), maxRemembered)]
	for ; len(list) > 0; list = list[:len(list)-1] {
		for _, agreed := range []string{g.agreed, g.agreedScopes} {
			list[0].Agreed = agreed
			sealed, err := s.granted.Seal(list, s.now().Add(grantedTTL), host.Issuer)
			if err == nil && len(sealed) <= room {
				setCookie(w, host, grantedCookie, sealed, grantedTTL)
				return
			}
		}
	}
}

// markChanged marks the scopes that the client has and whose tools changed since the
// person agreed. It marks the tools too, if it is known which.
func markChanged(view *page.Consent, cat *catalog.Catalogue, before granted, choices oauth.Scopes) {
	has := before.Scopes.of(choices)
	for _, list := range [][]page.ConsentScope{view.Scopes, view.More} {
		for i := range list {
			s := &list[i]
			if before.Agreed == "" || !has.Contains(s.Name) {
				continue
			}
			var tools []string
			tools, s.Changed = cat.Differ(before.Agreed, s.Name)
			for j := range s.Tools {
				s.Tools[j].Changed = slices.Contains(tools, s.Tools[j].Name)
			}
		}
	}
}

// markNew marks the scopes that the client does not have yet, if it comes back for more:
// it has only some of what it asks for, or scopes that it has have changed.
func markNew(view *page.Consent, before oauth.Scopes) {
	has := func(s page.ConsentScope) bool { return before.Contains(s.Name) }
	lacks := func(s page.ConsentScope) bool { return !has(s) }
	more := slices.ContainsFunc(view.Scopes, has) && slices.ContainsFunc(view.Scopes, lacks)
	if !more && !slices.ContainsFunc(view.Scopes, func(s page.ConsentScope) bool { return s.Changed }) {
		return
	}
	view.NewOnly = true
	for i, s := range view.Scopes {
		view.Scopes[i].New = lacks(s)
	}
}
