package authorize

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

const (
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
	Resource     string            `json:"resource"`
	Offered      oauth.Scopes      `json:"scopes"`
	// Withheld is what the client asked for and the rules let it have for nobody.
	Withheld  oauth.Scopes `json:"withheld,omitempty"`
	Kind      string       `json:"kind"` // of the client
	ScopeRoom int          `json:"room"` // bytes of scopes that may be granted
	Catalogue string       `json:"catalogue,omitempty"`
	Prompt    string       `json:"prompt,omitempty"`
	Offline   bool         `json:"offline,omitempty"` // the client asked for offline_access
}

// policyClient is the client as the rules know it.
func (p pending) policyClient() policy.Client {
	return policy.Client{Key: p.ClientKey, Kind: p.Kind, Host: p.VouchedBy}
}

func (p pending) auditEntry(host *resource.Host, event audit.Event, reason string) audit.Entry {
	return audit.Entry{
		Event: event, Reason: reason, Flow: p.Flow, Host: host.Name, Client: p.ClientID, Name: p.ClientName,
		Redirect: p.Redirect.DisplayHost(), Resource: p.Resource,
	}
}

// loginState is the value of the login step: what the user consented to, and
// the visit to the identity provider. It is sealed into a cookie, which binds
// it to the browser; the provider only sees Login.State.
type loginState struct {
	pending
	Granted oauth.Scopes `json:"granted"`
	// Handle names the step. It is spent when the step ends, however often the
	// person went back to choose another provider.
	Handle string `json:"handle"`
	// Provider is the id of the provider that Login is a visit to. Without a
	// Login none is chosen yet. A later choice replaces both, so that an answer
	// counts only if it is of the provider that was chosen last.
	Provider string          `json:"prov,omitempty"`
	Login    connector.Login `json:"login,omitzero"`
}

// chosen reports whether the person is on the way to a provider.
func (st *loginState) chosen() bool { return st.Login.State != "" }

// Steps seals and opens the values that travel between browser hops.
type Steps struct {
	pending seal.Box[pending]
	login   seal.Box[loginState]
	visits  seal.Box[visit]
	granted seal.Box[[]granted]
	known   seal.Box[knownBrowser]
	now     func() time.Time
}

// NewSteps returns the steps of this keyring.
func NewSteps(keys *seal.Keyring, now func() time.Time) Steps {
	return Steps{
		pending: seal.NewBox[pending](keys, "consent step"),
		login:   seal.NewBox[loginState](keys, "login step"),
		visits:  seal.NewBox[visit](keys, "visit to a provider"),
		granted: seal.NewBox[[]granted](keys, "granted before"),
		known:   seal.NewBox[knownBrowser](keys, "known browser"),
		now:     now,
	}
}

func (s Steps) sealPending(host *resource.Host, browser string, p pending) (string, error) {
	p.ID = rand.Text()
	return s.pending.Seal(p, s.now().Add(consentTTL), host.Issuer, browserKey(browser))
}

func (s Steps) openPending(host *resource.Host, browser, sealed string) (pending, error) {
	return s.pending.Open(sealed, host.Issuer, browserKey(browser))
}

func browserKey(browser string) string {
	sum := sha256.Sum256([]byte(browser))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// errCookies: the browser sent our cookie twice, so somebody else's host set one of them.
var errCookies = errors.New("a cookie of ours came more than once")

// browser returns the random name of this browser, giving it one if it has none.
// It says nothing about anybody; the consent form is bound to it.
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

// setLogin puts st into the browser's cookie.
func (s Steps) setLogin(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState) error {
	sealed, err := s.login.Seal(st, s.now().Add(loginTTL), host.Issuer, st.Handle)
	if err != nil {
		return err
	}
	parts := split(sealed, maxCookieValue)
	if len(parts) > maxCookieParts {
		return fmt.Errorf("login step of %d bytes does not fit the cookies", len(sealed))
	}
	dropLogins(w, r, host, st.Handle, maxLoginBytes-len(sealed))
	for i, part := range parts {
		if i == 0 {
			part = strconv.Itoa(len(parts)) + "." + part
		}
		setCookie(w, host, loginCookie(st.Handle, i), part, loginTTL)
	}
	return nil
}

// dropLogins removes the oldest logins of the browser, except own, until the
// others have no more than room bytes. Without a consent page nobody stands between a client
// that asks again and again and the next cookie, and ten minutes of them would
// make a header that no gateway takes. Browsers send first what they got first
// (RFC 6265, section 5.4); if one does not, another login is dropped.
func dropLogins(w http.ResponseWriter, r *http.Request, host *resource.Host, own string, room int) {
	var handles []string // oldest first
	parts, size := map[string][]string{}, map[string]int{}
	total := 0
	prefix := cookieName(host, loginPrefix)
	for _, c := range r.Cookies() {
		rest, ours := strings.CutPrefix(c.Name, prefix)
		handle, _, found := strings.Cut(rest, "-")
		if !ours || !found || handle == own[:8] {
			continue
		}
		if parts[handle] == nil {
			handles = append(handles, handle)
		}
		parts[handle] = append(parts[handle], loginPrefix+rest)
		size[handle] += len(c.Value)
		total += len(c.Value)
	}
	for _, handle := range handles {
		if total <= room {
			return
		}
		for _, name := range parts[handle] {
			setCookie(w, host, name, "", -1)
		}
		total -= size[handle]
	}
}

// errNoLogin: this browser has no such login on its way.
var errNoLogin = errors.New("this browser did not begin this sign-in")

// handleSize is the length of rand.Text.
const handleSize = 26

// visited opens the login step that a provider's answer with this state belongs
// to, by its handle.
func (s Steps) visited(r *http.Request, host *resource.Host, handle, state string) (loginState, error) {
	st, err := s.currentLogin(r, host, handle)
	if err != nil {
		return st, err
	}
	if subtle.ConstantTimeCompare([]byte(st.Login.State), []byte(state)) != 1 {
		return loginState{}, fmt.Errorf("%w, or chose another provider since", errNoLogin)
	}
	return st, nil
}

// currentLogin opens the login step with this handle from the browser's cookies.
func (s Steps) currentLogin(r *http.Request, host *resource.Host, handle string) (loginState, error) {
	if len(handle) != handleSize {
		return loginState{}, errNoLogin
	}
	var sealed strings.Builder
	for i, n := 0, 1; i < n; i++ {
		cookies := r.CookiesNamed(cookieName(host, loginCookie(handle, i)))
		if len(cookies) > 1 {
			return loginState{}, errCookies
		}
		if len(cookies) == 0 {
			return loginState{}, errNoLogin
		}
		value := cookies[0].Value
		if i == 0 {
			count, rest, _ := strings.Cut(value, ".")
			var err error
			if n, err = strconv.Atoi(count); err != nil || n < 1 || n > maxCookieParts {
				return loginState{}, errNoLogin
			}
			value = rest
		}
		sealed.WriteString(value)
	}
	st, err := s.login.Open(sealed.String(), host.Issuer, handle)
	if err != nil {
		return loginState{}, fmt.Errorf("%w: %w", errNoLogin, err)
	}
	return st, nil
}

// endLogin removes the cookies of a login from the browser.
func (s Steps) endLogin(w http.ResponseWriter, r *http.Request, host *resource.Host, handle string) {
	for i := range maxCookieParts {
		if name := loginCookie(handle, i); len(r.CookiesNamed(cookieName(host, name))) > 0 {
			setCookie(w, host, name, "", -1)
		}
	}
}

const (
	browserCookie  = "mcp-browser"
	loginPrefix    = "mcp-login-"
	maxCookieValue = 3500 // browsers cap name, value and attributes at 4096 bytes
	maxCookieParts = 3
	// maxLoginBytes bounds the logins that one browser has on their way: nginx
	// takes 8 KB of cookies unless told otherwise.
	maxLoginBytes = 6 << 10
)

// loginCookie names the cookie of one login, so that two at once do not meet.
func loginCookie(handle string, part int) string {
	return loginPrefix + handle[:8] + "-" + strconv.Itoa(part)
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
	c := &http.Cookie{
		Name: cookieName(host, name), Value: value, Path: "/", HttpOnly: true,
		Secure: host.Secure, SameSite: http.SameSiteLaxMode, MaxAge: int(age / time.Second),
	}
	if age < 0 {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func split(s string, size int) []string {
	var parts []string
	for len(s) > size {
		parts, s = append(parts, s[:size]), s[size:]
	}
	return append(parts, s)
}
