package authorize

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// The way back from the identity provider. Where each host has a callback of its
// own, the state is the ticket of the sign-in. Where one host has the callbacks of
// all, the state says before that, sealed, which host the browser is to go on to. That
// host then checks that it is the same browser; only it has the cookie.

// visit is the content of a state where there is a callback host.
type visit struct {
	Host     string `json:"host"`
	Provider string `json:"prov,omitempty"`
	// Ticket is the key of the ticket beside it.
	Ticket string `json:"ticket"`
	Flow   string `json:"flow"`
}

// errOtherHost: the answer belongs to a sign-in at another host.
var errOtherHost = errors.New("the sign-in began at another host")

// visitState makes the state of one visit. It is unlike that of every other
// visit, also of the same sign-in.
func (e *Endpoint) visitState(host *resource.Host, st loginState, ticket string) (string, error) {
	if e.CallbackHost == nil {
		return ticket, nil
	}
	sealed, err := e.Steps.visits.Seal(visit{host.Name, st.Provider, ticketKey(ticket), st.Flow}, e.Now().Add(loginTTL), e.CallbackHost.Issuer)
	return sealed + "." + ticket, err
}

// openVisit returns the visit that a state is of, and the ticket.
func (e *Endpoint) openVisit(state string) (v visit, ticket string, err error) {
	sealed, ticket, _ := strings.Cut(state, ".")
	v, err = e.Steps.visits.Open(sealed, e.CallbackHost.Issuer)
	if err == nil && !same(v.Ticket, ticketKey(ticket)) {
		return visit{}, "", seal.ErrInvalid
	}
	if errors.Is(err, seal.ErrExpired) { // for the log
		late, _ := e.Steps.visits.Late(sealed, e.CallbackHost.Issuer)
		v.Flow = late.Flow
	}
	return v, ticket, err
}

func ticketKey(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// visitOf returns the visit that a state at host is of, and the ticket. Without a
// callback host the ticket is all there is.
func (e *Endpoint) visitOf(host *resource.Host, state string) (v visit, ticket string, err error) {
	if e.CallbackHost == nil {
		return visit{Host: host.Name}, state, nil
	}
	v, ticket, err = e.openVisit(state)
	if err == nil && v.Host != host.Name {
		err = fmt.Errorf("%w, %s", errOtherHost, v.Host)
	}
	return v, ticket, err
}

// callbackPath is a path of its own for each provider where there are several: an
// answer of another provider does not pass for one of p, and a code is sent to no
// provider but its own (RFC 9700, section 4.4.2.2).
func callbackPath(provider string) string {
	if provider == "" {
		return CallbackPath
	}
	return CallbackPath + "/" + provider
}

// callbackURL is the redirect URI towards p of sign-ins at host.
func (e *Endpoint) callbackURL(host *resource.Host, p *provider.Provider) string {
	if e.CallbackHost != nil {
		host = e.CallbackHost
	}
	return host.Issuer + callbackPath(p.ID)
}

// answerPath is where the answer of p reaches host: the callback, or where the
// callback host, which has looked at the provider's own path, sends it on to.
func (e *Endpoint) answerPath(host *resource.Host, p *provider.Provider) string {
	if e.CallbackHost != nil && e.CallbackHost.Name != host.Name {
		return CallbackPath
	}
	return callbackPath(p.ID)
}

// maxRepost bounds the address that an answer is sent on to.
const maxRepost = 8 << 10

// answerNames are the parameters of an authorization response that are looked at.
// Others, such as the name of the person from Apple, are left out.
var answerNames = []string{"code", "state", "iss", "error", "error_description"}

// repost takes an answer that the provider's page posts (OAuth 2.0 Form Post
// Response Mode; Sign in with Apple and AD FS do). Such a POST comes from another
// site, so the browser leaves out the cookie that says which browser began. The
// browser is sent on to the same address by GET, with which the cookie comes, and
// nothing is decided before.
func (e *Endpoint) repost(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	form, err := web.Form(w, r)
	if err == nil {
		err = oauth.NewParams(form).CheckDuplicates()
	}
	if err == nil && r.URL.RawQuery != "" {
		err = errors.New("the answer has a query beside the form")
	}
	answer := url.Values{}
	for _, name := range answerNames {
		if v := form.Get(name); v != "" {
			answer.Set(name, v)
		}
	}
	target := r.URL.EscapedPath() + "?" + answer.Encode()
	if err == nil && len(target) > maxRepost {
		err = fmt.Errorf("the answer has %d bytes", len(target))
	}
	if err != nil {
		e.end(w, r, notOurs(host, "", reasons.MalformedCallback, err))
		return
	}
	redirect(w, target)
}

// returning calls next, except on the callback host, where it sends the provider's
// answer on to the host where the sign-in began. That host stands in the sealed state
// and must still be configured; nothing else in the request chooses it.
func (e *Endpoint) returning(next http.Handler) http.Handler {
	if e.CallbackHost == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !e.CallbackHost.Is(r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		if r.Method == http.MethodPost {
			e.repost(w, r, e.CallbackHost)
			return
		}
		query, err := web.Query(r)
		if err == nil {
			err = oauth.NewParams(query).CheckDuplicates()
		}
		if err != nil {
			e.end(w, r, notOurs(e.CallbackHost, "", reasons.MalformedCallback, err))
			return
		}
		v, _, err := e.openVisit(query.Get("state"))
		if err != nil {
			e.end(w, r, notOurs(e.CallbackHost, "", reasons.ForeignCallback, err))
			return
		}
		if r.URL.Path != callbackPath(v.Provider) {
			e.end(w, r, notOurs(e.CallbackHost, v.Flow, reasons.OtherProvider, fmt.Errorf("the answer to a visit to provider %q came to %s", v.Provider, r.URL.Path)))
			return
		}
		host := e.Hosts(v.Host)
		switch {
		case host == nil:
			e.end(w, r, notOurs(e.CallbackHost, v.Flow, reasons.ForeignCallback, fmt.Errorf("host %q is not configured any more", v.Host)))
		case host.Name == e.CallbackHost.Name:
			next.ServeHTTP(w, r)
		default:
			redirect(w, host.Issuer+CallbackPath+"?"+query.Encode())
		}
	})
}
