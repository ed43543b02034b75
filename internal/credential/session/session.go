package session

import (
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Session is what a browser's cookie holds.
type Session struct {
	// ID names the session from its sign-in to its end.
	ID string `json:"id"`
	// Generation counts how often the identity provider was asked again.
	Generation int                `json:"gen,omitempty"`
	Flow       string             `json:"flow"`
	Provider   string             `json:"prov,omitempty"`
	Identity   connector.Identity `json:"who"`
	// InGroups: the person was in some when they signed in, or may have been.
	InGroups bool `json:"in_groups,omitempty"`
	// In Unix seconds: when the person signed in, when the provider was last asked,
	// and when the cookie was made.
	AuthTime int64 `json:"auth_time"`
	Checked  int64 `json:"checked"`
	Made     int64 `json:"made"`
	// Tried is when the provider did not answer.
	Tried int64 `json:"tried,omitempty"`
	// Kept is what the provider can be asked with, zero if that is kept elsewhere.
	Kept connector.Session `json:"kept,omitzero"`
	// AtProvider stands for the session at the provider that the person signed in with,
	// see revocation.ProviderSession; "" where the provider does not name it.
	AtProvider string `json:"sid,omitempty"`
}

// maxCookie bounds the value of the cookie: browsers cap name, value and attributes
// at 4096 bytes, and gateways take 8 KB for all headers.
const maxCookie = 3500

// dictionary shortens cookies: it has what is in most of them.
const dictionary = `"kept":{"rt":"","at":"eyJhbGciOiJSUzI1NiIsInR5cCI","exp":17"in_groups":true,"unknown":{"groups":true}` +
	`{"id":"","flow":"","prov":"google","who":{"prov":"","ns":"google","sub":"","email":"@example.com","name":"","groups":["","` +
	`accounts.google.com","login.microsoftonline.com"]},"auth_time":17,"checked":17,"made":17`

// Sessions makes and reads the cookies.
type Sessions struct {
	Settings
	box seal.Box[Session]
	now func() time.Time
}

// New returns the sessions of a keyring.
func New(keys *seal.Keyring, s Settings, now func() time.Time) *Sessions {
	return &Sessions{Settings: s, box: seal.NewPackedBox[Session](keys, "browser session", dictionary), now: now}
}

// again is how long after a try that failed the identity provider is asked again.
const again = time.Minute

// Facts are what the session may be ended by.
func (v *Session) Facts() revocation.Facts {
	return revocation.Facts{
		Family: v.ID, Subject: v.Identity.FullSubject(), Email: v.Identity.Email, EmailUnknown: v.Identity.Unknown.Email, Client: ClientID,
		Since: v.AuthTime, Browser: true, AtProvider: v.AtProvider,
	}
}

// Renew is when the browser should fetch a new cookie, and Expires when the old
// one is refused. Both are in Unix seconds.
func (s *Sessions) Renew(v *Session) int64 {
	check := v.Checked + seconds(s.Recheck)
	if v.Tried > v.Checked {
		check = v.Tried + seconds(again)
	}
	return min(v.Made+seconds(s.Idle)/2, check, s.End(v))
}

// Expires is when the cookie is refused.
func (s *Sessions) Expires(v *Session) int64 {
	return min(v.Made+seconds(s.Idle), v.Checked+2*seconds(s.Recheck), s.End(v))
}

// End is when the session ends in any case.
func (s *Sessions) End(v *Session) int64 { return v.AuthTime + seconds(s.Lifetime) }

// Due reports whether the identity provider has to be asked again.
func (s *Sessions) Due(v *Session) bool { return s.now().Unix() >= v.Checked+seconds(s.Recheck) }

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// Seal makes the cookie of a session at host, from now on. What does not fit is left
// out: first what the provider is asked with, which keep gets, and then the groups,
// which are unknown from then on.
func (s *Sessions) Seal(v Session, host *resource.Host, keep func(connector.Session) error) (string, error) {
	v.Made = s.now().Unix()
	sealed, err := s.seal(v, host)
	if err != nil || len(sealed) <= maxCookie {
		return sealed, err
	}
	if v.Kept != (connector.Session{}) {
		if err := keep(v.Kept); err != nil {
			return "", err
		}
		v.Kept = connector.Session{}
		if sealed, err = s.seal(v, host); err != nil || len(sealed) <= maxCookie {
			return sealed, err
		}
	}
	v.Identity.Groups, v.Identity.Unknown.Groups, v.InGroups = nil, true, true
	return s.seal(v, host)
}

func (s *Sessions) seal(v Session, host *resource.Host) (string, error) {
	return s.box.Seal(v, time.Unix(s.Expires(&v), 0), host.Issuer)
}

// Open reads the value of a cookie at host. The error is seal.ErrExpired or
// seal.ErrInvalid.
func (s *Sessions) Open(value string, host *resource.Host) (Session, error) {
	v, err := s.box.Open(value, host.Issuer)
	if err == nil && s.now().Unix() >= s.Expires(&v) { // the settings may have been shortened
		return Session{}, seal.ErrExpired
	}
	return v, err
}

// cookie is the name of the cookie. At a secure host it has the prefix by which
// browsers take it from this very host alone, over https (RFC 6265bis).
const cookie = "mcp-session"

func cookieName(host *resource.Host) string {
	if host.Secure {
		return "__Host-" + cookie
	}
	return cookie
}

// Presented returns the value of the cookie among the Cookie lines of a request.
// Two are none: another host of the same site may have set one.
func Presented(lines []string, host *resource.Host) (value string, several bool) {
	if len(lines) == 0 {
		return "", false
	}
	r := http.Request{Header: http.Header{"Cookie": lines}}
	switch found := r.CookiesNamed(cookieName(host)); len(found) {
	case 0:
		return "", false
	case 1:
		return found[0].Value, false
	}
	return "", true
}

// Set gives the browser the cookie. Browsers keep it as long as they run; how
// long it is good for is inside of the seal.
func Set(h http.Header, host *resource.Host, value string) { set(h, host, value, 0) }

// Clear takes the cookie from the browser.
func Clear(h http.Header, host *resource.Host) { set(h, host, "", -1) }

func set(h http.Header, host *resource.Host, value string, age int) {
	c := &http.Cookie{Name: cookieName(host), Value: value, Path: "/", HttpOnly: true, Secure: host.Secure, SameSite: http.SameSiteLaxMode, MaxAge: age}
	h.Add("Set-Cookie", c.String())
}
