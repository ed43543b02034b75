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

// The way back from the identity provider. If each host has its own callback, the state
// is the ticket of the sign-in. If one callback host serves all, the state begins with a
// sealed visit, which names the host that the browser goes on to. Only that host gets the
// browser's cookie, so it checks that the browser is the same.

// visit is the sealed part of a state, if there is a callback host.
type visit struct {
	Host     string `json:"host"`
	Provider string `json:"prov,omitempty"`
	// Ticket is ticketKey of the ticket that follows.
	Ticket string `json:"ticket"`
	Flow   string `json:"flow"`
}

// errOtherHost is the error if the answer belongs to a sign-in at another host.
var errOtherHost = errors.New("the sign-in began at another host")

// visitState returns the state for one visit. Each visit has another one, even in the
// same sign-in.
func (e *Endpoint) visitState(host *resource.Host, st loginState, ticket string) (string, error) {
	if e.CallbackHost == nil {
		return ticket, nil
	}
	sealed, err := e.Steps.visits.Seal(visit{host.Name, st.Provider, ticketKey(ticket), st.Flow}, e.Now().Add(loginTTL), e.CallbackHost.Issuer)
	return sealed + "." + ticket, err
}

// openVisit returns the visit and the ticket of a state.
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

// visitOf returns the visit and the ticket of a state that arrived at host. The error is
// errOtherHost if the visit belongs to another host. Without a callback host, the state
// is the ticket.
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

// callbackPath returns the path of a provider's callback. If there are several providers,
// each has its own path. So the answer of one cannot pass for that of another, and a code
// is sent to no provider but the one that issued it (RFC 9700, section 4.4.2.2).
func callbackPath(provider string) string {
	if provider == "" {
		return CallbackPath
	}
	return CallbackPath + "/" + provider
}

// callbackURL returns the redirect URI at p for sign-ins at host.
func (e *Endpoint) callbackURL(host *resource.Host, p *provider.Provider) string {
	if e.CallbackHost != nil {
		host = e.CallbackHost
	}
	return host.Issuer + callbackPath(p.ID)
}

// answerPath returns the path at which host gets the answer of p. A host other than the
// callback host gets it at CallbackPath; the callback host has then checked the
// provider's own path.
func (e *Endpoint) answerPath(host *resource.Host, p *provider.Provider) string {
	if e.CallbackHost != nil && e.CallbackHost.Name != host.Name {
		return CallbackPath
	}
	return callbackPath(p.ID)
}

// maxRepost bounds the address that repost redirects to, in bytes.
const maxRepost = 8 << 10

// answerNames are the parameters of an authorization response that are used. Others are
// dropped, such as the person's name that Apple sends.
var answerNames = []string{"code", "state", "iss", "error", "error_description"}

// repost takes an answer that the provider's page sends as a form (OAuth 2.0 Form Post
// Response Mode; Sign in with Apple and AD FS do so). Such a POST comes from another
// site, so the browser leaves out the cookie that says which browser began. repost only
// redirects to the same address with GET, for which the browser sends the cookie.
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
		e.end(w, r, notHonoured(host, "", reasons.MalformedCallback, err))
		return
	}
	redirect(w, target)
}

// returning is a middleware for the callback host: it sends the provider's answer on to
// the host where the sign-in began. The sealed state names that host, which must still be
// configured; nothing else in the request chooses it. Requests to other hosts go to next.
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
			e.end(w, r, notHonoured(e.CallbackHost, "", reasons.MalformedCallback, err))
			return
		}
		v, _, err := e.openVisit(query.Get("state"))
		if err != nil {
			e.end(w, r, notHonoured(e.CallbackHost, "", reasons.ForeignCallback, err))
			return
		}
		if r.URL.Path != callbackPath(v.Provider) {
			e.end(w, r, notHonoured(e.CallbackHost, v.Flow, reasons.OtherProvider, fmt.Errorf("the answer to a visit to provider %q came to %s", v.Provider, r.URL.Path)))
			return
		}
		host := e.Hosts(v.Host)
		switch {
		case host == nil:
			e.end(w, r, notHonoured(e.CallbackHost, v.Flow, reasons.ForeignCallback, fmt.Errorf("host %q is not configured any more", v.Host)))
		case host.Name == e.CallbackHost.Name:
			next.ServeHTTP(w, r)
		default:
			redirect(w, host.Issuer+CallbackPath+"?"+query.Encode())
		}
	})
}
