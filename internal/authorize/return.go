package authorize

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// The way back from the identity provider. Where each host has a callback of its
// own, the state is a short random handle. Where one host has the callbacks of
// all, the state says, sealed, which host the browser is to go on to; that the
// browser is the one that began is for that host to see, which has its cookie.

// visit is what a state stands for where there is a callback host.
type visit struct {
	Host     string `json:"host"`
	Handle   string `json:"handle"`
	Provider string `json:"prov,omitempty"`
	Flow     string `json:"flow"`
}

// errOtherHost: the answer belongs to a sign-in at another host.
var errOtherHost = errors.New("the sign-in began at another host")

// visitState makes the state of one visit. It is unlike that of every other
// visit, also of the same step.
func (e *Endpoint) visitState(host *resource.Host, st loginState, p *provider.Provider) (string, error) {
	if e.CallbackHost == nil {
		return st.Handle + rand.Text(), nil
	}
	return e.Steps.visits.Seal(visit{host.Name, st.Handle, p.ID, st.Flow}, e.Now().Add(loginTTL), e.CallbackHost.Issuer)
}

// visitOf returns the visit that a state at host is of. Without a callback host
// the handle is all there is to know.
func (e *Endpoint) visitOf(host *resource.Host, state string) (visit, error) {
	if e.CallbackHost == nil {
		return visit{Host: host.Name, Handle: state[:min(len(state), handleSize)]}, nil
	}
	v, err := e.Steps.visits.Open(state, e.CallbackHost.Issuer)
	if err == nil && v.Host != host.Name {
		err = fmt.Errorf("%w, %s", errOtherHost, v.Host)
	}
	return v, err
}

// callbackPath is the provider's own where there are several: what another
// provider made the browser bring does not pass for an answer of this one, and
// its code goes to nobody else (RFC 9700, section 4.4.2.2).
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

// returning is next, and on the callback host what sends the provider's answer
// on to the host where the sign-in began. That host comes from the sealed state
// and has to be configured still; nothing else of the request decides it.
func (e *Endpoint) returning(next http.Handler) http.Handler {
	if e.CallbackHost == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !e.CallbackHost.Is(r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		query, err := web.Query(r)
		if err == nil {
			err = oauth.NewParams(query).CheckDuplicates()
		}
		if err != nil {
			e.refuseForm(w, r, e.CallbackHost, "", "malformed_callback", err)
			return
		}
		v, err := e.Steps.visits.Open(query.Get("state"), e.CallbackHost.Issuer)
		if err != nil {
			e.refuseForm(w, r, e.CallbackHost, "", "foreign_callback", err)
			return
		}
		if r.URL.Path != callbackPath(v.Provider) {
			e.refuseForm(w, r, e.CallbackHost, v.Flow, "other_provider", fmt.Errorf("the answer to a visit to provider %q came to %s", v.Provider, r.URL.Path))
			return
		}
		host := e.Hosts(v.Host)
		switch {
		case host == nil:
			e.refuseForm(w, r, e.CallbackHost, v.Flow, "foreign_callback", fmt.Errorf("host %q is not configured any more", v.Host))
		case host.Name == e.CallbackHost.Name:
			next.ServeHTTP(w, r)
		default:
			redirect(w, host.Issuer+CallbackPath+"?"+query.Encode())
		}
	})
}
