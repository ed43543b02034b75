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

// pending is the value of the consent step: a checked authorization request, sealed into
// the form of the consent page and bound to the browser that got it.
type pending struct {
	ID           string            `json:"id"` // used up when the person answers
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
	Key          string            `json:"jkt,omitempty"` // thumbprint of the client's key, "" for none
	Resource     string            `json:"resource"`
	Offered      oauth.Scopes      `json:"scopes"`
	// Named says that the client asked for Offered by name.
	Named bool `json:"named,omitempty"`
	// More is what the client did not ask for, and the person may grant as well.
	More oauth.Scopes `json:"more,omitempty"`
	// Withheld is what the client asked for, and the rules deny to all of its users.
	Withheld  oauth.Scopes `json:"withheld,omitempty"`
	Kind      string       `json:"kind"` // Client.Kind
	ScopeRoom int          `json:"room"` // how many bytes of scopes may be granted
	// Catalogue has the fingerprints of choices. In the login step, it is the digest of
	// the fingerprints of what was granted.
	Catalogue string `json:"catalogue,omitempty"`
	// Shown is the digest of what the person agrees to by granting all of choices. In the
	// login step, it is that of what they granted. See catalog.Agree.
	Shown  string `json:"shown,omitempty"`
	Prompt string `json:"prompt,omitempty"`
	// Device is the record of the device that the answer is for, "" for none, and
	// UserCode the code that the person typed. There is no redirect URI then.
	Device   string `json:"device,omitempty"`
	UserCode string `json:"user_code,omitempty"`
	// Mark is requestMark of the request.
	Mark    string `json:"mark,omitempty"`
	Offline bool   `json:"offline,omitempty"` // the client asked for offline_access
	// Page is the address to return to after a sign-in to this host's pages; "" for an
	// app's sign-in. A sign-in to pages has no client, and the fields about one are
	// empty.
	Page string `json:"page,omitempty"`
}

// step returns s for a sign-in of an app, whose steps are counted, and "" for a sign-in
// to pages.
func (p pending) step(s audit.Step) audit.Step {
	if p.Page != "" {
		return ""
	}
	return s
}

// choices returns the scopes that the person may grant.
func (p pending) choices() oauth.Scopes { return p.Offered.Union(p.More) }

// policyClient returns the client as the policy knows it.
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

// Steps seals and opens the values that the browser carries from step to step.
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

// errCookies is the error if the browser sends one of our cookies twice: another host of
// the same site may have set one.
var errCookies = errors.New("a cookie of ours came more than once")

// browser returns the random name of this browser, and gives it one if it has none. The
// name says nothing about the person. The form of the consent page is bound to it.
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

// cookieName adds the prefix __Host- (RFC 6265bis): only this host can set such a cookie,
// and only over https. Plain http is for loopback only, where browsers refuse the prefix.
func cookieName(host *resource.Host, name string) string {
	if host.Secure {
		return "__Host-" + name
	}
	return name
}

// setCookie sets a cookie. With age 0 it lasts for the browser's session; with a negative
// age it is removed. SameSite=Lax lets the browser send it when it returns from the
// identity provider.
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
