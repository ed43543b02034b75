package authorize

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

const (
	browserCookie = "mcp-browser"
	// consentTTL is how long a consent page may stay open.
	consentTTL = 30 * time.Minute
	// loginTTL is how long a visit to the identity provider may take.
	loginTTL = 10 * time.Minute
)

// pending is the value of the consent step: a checked authorization request,
// sealed into the form of the consent page and bound to the browser that got it.
type pending struct {
	ID           string            `json:"id"` // spent when the user answers
	Flow         string            `json:"flow"`
	ClientKey    string            `json:"client"`
	ClientID     string            `json:"client_id"` // shortened, for the log
	ClientName   string            `json:"name,omitempty"`
	VouchedBy    string            `json:"by,omitempty"`
	LoopbackOnly bool              `json:"loopback,omitempty"`
	Trusted      bool              `json:"trusted,omitempty"`
	Redirect     oauth.RedirectURI `json:"redirect"`
	State        string            `json:"state,omitempty"`
	Challenge    string            `json:"challenge"`
	Key          string            `json:"jkt,omitempty"` // of the client, as a thumbprint
	Resource     string            `json:"resource"`
	Offered      oauth.Scopes      `json:"scopes"`
	// Named: the client asked for Offered by name.
	Named bool `json:"named,omitempty"`
	// More is what the client did not ask for and the person may grant as well.
	More oauth.Scopes `json:"more,omitempty"`
	// Withheld is what the client asked for and the rules let it have for no user.
	Withheld  oauth.Scopes `json:"withheld,omitempty"`
	Kind      string       `json:"kind"` // of the client
	ScopeRoom int          `json:"room"` // bytes of scopes that may be granted
	// Catalogue is the fingerprints of choices, and in the login step the digest of
	// those of what was granted.
	Catalogue string `json:"catalogue,omitempty"`
	// Shown is the digest of what the person agrees to by granting all of choices or, in
	// the login step, by what they granted; see catalog.Agree.
	Shown  string `json:"shown,omitempty"`
	Prompt string `json:"prompt,omitempty"`
	// Device names the record of the device that the answer is for, whose page had
	// UserCode; then there is no redirect URI.
	Device   string `json:"device,omitempty"`
	UserCode string `json:"user_code,omitempty"`
	// Mark is requestMark of the request.
	Mark    string `json:"mark,omitempty"`
	Offline bool   `json:"offline,omitempty"` // the client asked for offline_access
	// Page is the address to return to, for a sign-in to this host's pages. Such a
	// sign-in has no client, and the fields above about one are empty.
	Page string `json:"page,omitempty"`
}

// step maps s to the audit step of a client's sign-in. Sign-ins for pages have none.
func (p pending) step(s audit.Step) audit.Step {
	if p.Page != "" {
		return ""
	}
	return s
}

// choices are the scopes that the person may grant.
func (p pending) choices() oauth.Scopes { return p.Offered.Union(p.More) }

// policyClient is the client as the rules know it.
func (p pending) policyClient() policy.Client {
	return policy.Client{Key: p.ClientKey, Kind: p.Kind, Host: p.VouchedBy}
}

func (p pending) auditEntry(host *resource.Host, event audit.Event, reason reasons.Reason) audit.Entry {
	entry := audit.Entry{Event: event, Reason: reason, Flow: p.Flow, Host: host.Name, Client: p.ClientID, Name: p.ClientName, Resource: p.Resource}
	if !p.Redirect.IsZero() {
		entry.Redirect = p.Redirect.DisplayHost()
	}
	return entry
}

// Steps seals and opens the values that travel between browser hops.
type Steps struct {
	pending seal.Box[pending]
	login   seal.Box[loginState]
	visits  seal.Box[visit]
	granted seal.Box[[]granted]
	known   seal.Box[knownBrowser]
	pushed  seal.Box[pushedRequest]
	kept    seal.Box[connector.Session]
	// references are of flows, see reference.
	references seal.Box[string]
	now        func() time.Time
}

// NewSteps returns the steps of this keyring.
func NewSteps(keys *seal.Keyring, now func() time.Time) Steps {
	return Steps{
		pending: seal.NewBox[pending](keys, "consent step"),
		login:   seal.NewPackedBox[loginState](keys, "login step", loginDictionary),
		visits:  seal.NewBox[visit](keys, "visit to a provider"),
		granted: seal.NewBox[[]granted](keys, "granted before"),
		known:   seal.NewBox[knownBrowser](keys, "known browser"),
		kept:    seal.NewBox[connector.Session](keys, "provider session of a browser"),
		pushed:  seal.NewPackedBox[pushedRequest](keys, "pushed authorization request", pushedDictionary),
		now:     now,

		references: seal.NewBox[string](keys, "reference of a sign-in"),
	}
}

func (s Steps) sealPending(host *resource.Host, browser string, p pending) (string, error) {
	p.ID = rand.Text()
	ends := s.now().Add(consentTTL)
	reference, err := s.reference(host, p.Flow, "", ends)
	if err != nil {
		return "", err
	}
	sealed, err := s.pending.Seal(p, ends, host.Issuer, browserKey(browser), reference)
	return reference + "." + sealed, err
}

func (s Steps) openPending(host *resource.Host, browser, sealed string) (pending, error) {
	reference, step, found := strings.Cut(sealed, ".")
	if !found { // of an earlier version
		return s.pending.Open(sealed, host.Issuer, browserKey(browser))
	}
	return s.pending.Open(step, host.Issuer, browserKey(browser), reference)
}

func browserKey(browser string) string {
	sum := sha256.Sum256([]byte(browser))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// errCookies: the browser sent our cookie twice, so another host of the same site set one of them.
var errCookies = errors.New("a cookie of ours came more than once")

// browser returns the random name of this browser, giving it one if it has none.
// It says nothing about the user; the consent form is bound to it.
func (s Steps) browser(w http.ResponseWriter, r *http.Request, host *resource.Host) (string, error) {
	if b, err := currentBrowser(r, host); err != nil || b != "" {
		return b, err
	}
	b := rand.Text()
	setCookie(w, host, browserCookie, b, 0)
	return b, nil
}

func currentBrowser(r *http.Request, host *resource.Host) (string, error) {
	cookies := r.CookiesNamed(cookieName(host, browserCookie))
	switch {
	case len(cookies) > 1:
		return "", errCookies
	case len(cookies) == 0 || len(cookies[0].Value) != 26:
		return "", nil
	}
	return cookies[0].Value, nil
}

// cookieName adds the __Host- prefix (RFC 6265bis): only this very host, over
// https, can have set such a cookie. Plain http exists on loopback only, where
// browsers refuse the prefix.
func cookieName(host *resource.Host, name string) string {
	if host.Secure {
		return "__Host-" + name
	}
	return name
}

// setCookie sets or, with a negative age, removes a cookie; age 0 is the
// browser's session. Lax lets it come back from the identity provider.
func setCookie(w http.ResponseWriter, host *resource.Host, name, value string, age time.Duration) {
	h, before := w.Header(), cookieName(host, name)+"="
	if set := slices.DeleteFunc(h["Set-Cookie"], func(line string) bool { return strings.HasPrefix(line, before) }); len(set) > 0 {
		h["Set-Cookie"] = set // an answer sets each cookie once
	} else {
		h.Del("Set-Cookie")
	}
	c := &http.Cookie{
		Name: cookieName(host, name), Value: value, Path: "/", HttpOnly: true,
		Secure: host.Secure, SameSite: http.SameSiteLaxMode, MaxAge: int(age / time.Second),
	}
	if age < 0 {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
