package authorize

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// The sign-ins of a browser that are under way. The browser keeps a key for each in a
// small cookie. What the person consented to travels separately as a ticket, in the state
// that the identity provider sends back, and in the addresses and forms of our own pages.
// The ticket is sealed and opens with that key only. So a browser can have many sign-ins
// under way, with cookies that every proxy accepts.
//
// If a ticket is too long for a URL, it only names the sign-in, and the sealed value is
// in further cookies.

// loginState is the value of the login step: what the person consented to, and the visit
// to the identity provider.
type loginState struct {
	pending
	Granted oauth.Scopes `json:"granted"`
	// Handle names the sign-in. It is used up when the sign-in ends, however often the
	// person went back to choose another provider.
	Handle string `json:"handle"`
	// Provider is the id of the provider that is visited, and Visit names the visit; both
	// are "" until a provider is chosen. The cookie names the last visit: an answer
	// counts only if it is of that one.
	Provider string          `json:"prov,omitempty"`
	Visit    string          `json:"visit,omitempty"`
	Login    connector.Login `json:"login,omitzero"`

	key string // the key in the browser's cookie
	// agreed is what the person agreed to, in the two forms of package catalog. Both are
	// "" until the sign-in is complete, and if the server's list has changed since the
	// consent page.
	agreed, agreedScopes string
}

// chosen reports whether a provider is chosen.
func (st *loginState) chosen() bool { return st.Visit != "" }

// id names the visit, which may be answered once.
func (st *loginState) id() string { return "login " + st.Handle + st.Visit }

// loginDictionary shortens tickets: it has the texts that most of them contain.
const loginDictionary = `notes:read","notes:write","mcp"],"https://claude.ai/api/mcp/auth_callback","cursor://anysphere.cursor-mcp/oauth/callback",` +
	`"RedirectURI":"https://.example.com/callback","Prompt":"select_account"},"offline":true,"catalogue":"","shown":"","prompt":"login",` +
	`"https://mcp.example.com/mcp","kind":"document","by":"http://127.0.0.1:","trusted":true,"name":"Claude Code","flow":"` +
	`{"id":"","flow":"","client":"","client_id":"dcr1.","name":"","redirect":"http://localhost:/callback","state":"","challenge":"",` +
	`"resource":"https://","scopes":null,"kind":"dynamic","room":0,"granted":["","handle":"","prov":"","visit":"","login":{"State":"","Nonce":"","Verifier":"`

const (
	loginPrefix    = "mcp-login-"
	maxCookieValue = 3500 // browsers cap name, value and attributes at 4096 bytes
	maxCookieParts = 3
	// maxLoginBytes bounds the cookies of all logins of one browser. nginx takes 8 KB of
	// cookies by default, and there are others.
	maxLoginBytes = 5 << 10
	// maxTicket is the longest state that every identity provider sends back,
	// maxLongTicket the longest that most do.
	maxTicket     = 1400
	maxLongTicket = 3000
	handleSize    = 26 // of rand.Text
	visitSize     = 13
	shortName     = 8 // how much of a handle is in the names of cookies
)

var (
	// errNoLogin is the error if this browser has no such sign-in under way.
	errNoLogin = errors.New("this browser did not begin this sign-in")
	// errNoTicket: the answer does not say which sign-in it is of.
	errNoTicket = fmt.Errorf("%w: the answer has no state, or only a part of it", errNoLogin)
	// errLate: the sign-in took too long.
	errLate = fmt.Errorf("this sign-in was to be answered within %s", loginTTL)
	// errDisplaced is the error if the sign-in was forgotten because the browser began
	// many others.
	errDisplaced = errors.New("this browser began too many other sign-ins since")
	// errEnded is the error if the sign-in has ended.
	errEnded = errors.New("this sign-in has ended")
	// errSignedIn is the error if the sign-in has ended and the client has its code.
	errSignedIn = errors.New("this sign-in is complete")
)

// newLogin begins the login step of p.
func newLogin(p pending, granted oauth.Scopes) loginState {
	return loginState{pending: p, Granted: granted, Handle: rand.Text(), key: rand.Text()}
}

// ticket seals st. It returns the ticket, and the cookies that the browser of r needs to
// open it. A short sealed value is part of the ticket. A long one goes into cookies,
// because some identity providers accept no URL of more than 2 KB; but it is part of the
// ticket if the browser would have to forget another sign-in for the cookies.
func (s Steps) ticket(r *http.Request, host *resource.Host, st loginState) (ticket string, cookies []string, err error) {
	ends := s.now().Add(loginTTL)
	sealed, err := s.login.Seal(st, ends, host.Issuer, st.Handle, st.key)
	if err != nil {
		return "", nil, err
	}
	reference, err := s.reference(host, st.Flow, st.Handle, ends)
	if err != nil {
		return "", nil, err
	}
	named := st.Handle + reference + "."
	room := maxLoginBytes
	for _, l := range otherLogins(r, host, st.Handle) {
		room -= l.bytes
	}
	size := len(named) + len(sealed)
	whole := size <= maxTicket || size <= maxLongTicket && len(sealed)+maxTicket/2 > room
	if whole {
		return named + sealed, []string{"0." + st.key + st.Visit}, nil
	}
	parts := split(sealed, maxCookieValue)
	if len(parts) > maxCookieParts {
		return "", nil, fmt.Errorf("login step of %d bytes does not fit the cookies", len(sealed))
	}
	return named + st.Visit, append([]string{strconv.Itoa(len(parts)) + "." + st.key + st.Visit}, parts...), nil
}

// keepLogin gives the browser the cookies of a ticket. If there is no room, it removes
// those of the oldest other logins. Without that, a client that asks again and again,
// where there is no consent page, would in ten minutes fill the browser with a Cookie
// header that no gateway accepts.
func keepLogin(w http.ResponseWriter, r *http.Request, host *resource.Host, handle string, cookies []string) {
	total := 0
	for i, value := range cookies {
		total += cookieSize(loginCookie(handle, i), value)
		setCookie(w, host, loginCookie(handle, i), value, loginTTL)
	}
	for i := len(cookies); i <= maxCookieParts; i++ { // of an earlier ticket
		if name := loginCookie(handle, i); len(r.CookiesNamed(cookieName(host, name))) > 0 {
			setCookie(w, host, name, "", -1)
		}
	}
	others := otherLogins(r, host, handle)
	for _, l := range others {
		total += l.bytes
	}
	var dropped []string
	for _, l := range others {
		if total <= maxLoginBytes {
			break
		}
		for _, cookie := range l.cookies {
			setCookie(w, host, cookie, "", -1)
		}
		total -= l.bytes
		dropped = append(dropped, displaced+l.name)
	}
	if len(dropped) > 0 {
		noteEnds(w, r, host, dropped)
	}
}

// keptLogin is a login that a browser has under way.
type keptLogin struct {
	name    string // the beginning of its handle
	cookies []string
	bytes   int
}

// otherLogins returns the logins of the browser except own, oldest first: browsers send
// the oldest cookies first (RFC 6265, section 5.4).
func otherLogins(r *http.Request, host *resource.Host, own string) []keptLogin {
	var list []keptLogin
	prefix := cookieName(host, loginPrefix)
	for _, c := range r.Cookies() {
		rest, ours := strings.CutPrefix(c.Name, prefix)
		name, _, found := strings.Cut(rest, "-")
		if !ours || !found || name == own[:shortName] {
			continue
		}
		i := slices.IndexFunc(list, func(l keptLogin) bool { return l.name == name })
		if i < 0 {
			i, list = len(list), append(list, keptLogin{name: name})
		}
		list[i].cookies = append(list[i].cookies, loginPrefix+rest)
		list[i].bytes += cookieSize(loginPrefix+rest, c.Value)
	}
	return list
}

// cookieSize returns the size of a cookie in the Cookie header.
func cookieSize(name, value string) int { return len("__Host-") + len(name) + len(value) + len("=; ") }

// currentLogin opens a ticket. The browser must have its key.
func (s Steps) currentLogin(r *http.Request, host *resource.Host, ticket string) (loginState, error) {
	if len(ticket) < handleSize {
		return loginState{}, errNoTicket
	}
	handle, sealed := ticket[:handleSize], step(ticket[handleSize:])
	count, key, visit, err := loginKey(r, host, handle)
	if err != nil {
		return loginState{}, err
	}
	asked := visit
	if count > 0 {
		asked = sealed
		if sealed, err = loginParts(r, host, handle, count); err != nil {
			return loginState{}, err
		}
	}
	st, err := s.login.Open(sealed, host.Issuer, handle, key)
	if err != nil {
		return loginState{}, fmt.Errorf("%w: %w", errNoLogin, err)
	}
	st.key = key
	if count > 0 && asked == "" { // the person went back to the page to choose a provider
		st.unchoose()
	}
	if st.chosen() && (!same(st.Visit, visit) || !same(st.Visit, asked)) {
		return loginState{}, fmt.Errorf("%w, or chose another provider since", errNoLogin)
	}
	return st, nil
}

func (st *loginState) unchoose() { st.Provider, st.Visit, st.Login = "", "", connector.Login{} }

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// loginKey reads the first cookie of a login: how many further cookies there are, the key
// of its tickets, and the last visit.
func loginKey(r *http.Request, host *resource.Host, handle string) (count int, key, visit string, err error) {
	value, err := loginValue(r, host, handle, 0)
	if err != nil {
		return 0, "", "", endOf(r, host, handle, err)
	}
	digits, rest, _ := strings.Cut(value, ".")
	count, err = strconv.Atoi(digits)
	if err != nil || count < 0 || count > maxCookieParts || len(rest) != handleSize && len(rest) != handleSize+visitSize {
		return 0, "", "", errNoLogin
	}
	return count, rest[:handleSize], rest[handleSize:], nil
}

func loginParts(r *http.Request, host *resource.Host, handle string, count int) (string, error) {
	var sealed strings.Builder
	for i := range count {
		part, err := loginValue(r, host, handle, i+1)
		if err != nil {
			return "", err
		}
		sealed.WriteString(part)
	}
	return sealed.String(), nil
}

func loginValue(r *http.Request, host *resource.Host, handle string, part int) (string, error) {
	cookies := r.CookiesNamed(cookieName(host, loginCookie(handle, part)))
	switch len(cookies) {
	case 0:
		return "", errNoLogin
	case 1:
		return cookies[0].Value, nil
	}
	return "", errCookies
}

// endLogin removes the cookies of a login from the browser.
func (s Steps) endLogin(w http.ResponseWriter, r *http.Request, host *resource.Host, handle string) {
	for i := range maxCookieParts + 1 {
		if name := loginCookie(handle, i); len(r.CookiesNamed(cookieName(host, name))) > 0 {
			setCookie(w, host, name, "", -1)
		}
	}
	noteEnds(w, r, host, []string{ended + handle[:shortName]})
}

// loginCookie returns the name of a cookie of a login. Each login has its own cookies.
func loginCookie(handle string, part int) string {
	return loginPrefix + handle[:shortName] + "-" + strconv.Itoa(part)
}

// endsCookie lists the last sign-ins and requests of this browser that have ended, newest
// first. If the person goes back to a page of one, the page says how it ended. No
// decision depends on it.
const (
	endsCookie = "mcp-ends"
	maxEnds    = 24
	// How a sign-in ended, before the beginning of its handle.
	ended     = "e"
	displaced = "d"
	signedIn  = "s"
	// How a request was answered, before its requestMark.
	allowedRequest  = "a"
	declinedRequest = "n"
)

// requestMark returns a short name of a request, made of its query. Each query has
// another code challenge.
func requestMark(query string) string {
	sum := sha256.Sum256([]byte(query))
	return base32.StdEncoding.EncodeToString(sum[:])[:shortName]
}

// outcomeBefore returns how this browser answered the request with this mark in the last
// minutes; "" if it did not, or if that is not known.
func outcomeBefore(r *http.Request, host *resource.Host, mark string) page.Outcome {
	for _, end := range loginEnds(r, host) { // the newest first
		switch end {
		case allowedRequest + mark:
			return page.SignedIn
		case declinedRequest + mark:
			return page.Declined
		}
	}
	return ""
}

// noteEnds adds list to the cookie of what has ended.
func noteEnds(w http.ResponseWriter, r *http.Request, host *resource.Host, list []string) {
	for _, end := range loginEnds(r, host) {
		if !slices.Contains(list, end) {
			list = append(list, end)
		}
	}
	setCookie(w, host, endsCookie, strings.Join(list[:min(len(list), maxEnds)], "."), loginTTL)
}

func loginEnds(r *http.Request, host *resource.Host) []string {
	cookies := r.CookiesNamed(cookieName(host, endsCookie))
	if len(cookies) != 1 || len(cookies[0].Value) > maxEnds*(shortName+2) {
		return nil
	}
	return slices.DeleteFunc(strings.Split(cookies[0].Value, "."), func(end string) bool {
		return len(end) != 1+shortName || strings.Trim(end[1:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != ""
	})
}

// endOf returns how a login without a cookie ended, if that is known; else err.
func endOf(r *http.Request, host *resource.Host, handle string, err error) error {
	if !errors.Is(err, errNoLogin) {
		return err
	}
	list := loginEnds(r, host)
	switch name := handle[:shortName]; {
	case slices.Contains(list, signedIn+name):
		return errSignedIn
	case slices.Contains(list, ended+name):
		return errEnded
	case slices.Contains(list, displaced+name):
		return errDisplaced
	}
	return err
}

func split(s string, size int) []string {
	var parts []string
	for len(s) > size {
		parts, s = append(parts, s[:size]), s[size:]
	}
	return append(parts, s)
}
