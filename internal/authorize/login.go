package authorize

import (
	"errors"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Login serves our own login page, for the static provider: GET shows it, POST
// checks the password and ends the conversation as a callback would.
func (e *Endpoint) Login(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	handle, username, password := r.URL.Query().Get("state"), "", ""
	if r.Method == http.MethodPost {
		if err := sameOrigin(r); err != nil {
			e.refuseForm(w, r, host, "cross_site_form", err)
			return
		}
		form, err := web.Form(w, r)
		if err != nil {
			e.refuseForm(w, r, host, "malformed_form", err)
			return
		}
		handle, username, password = form.Get("state"), form.Get("username"), form.Get("password")
	}
	st, err := e.Steps.currentLogin(r, host, handle)
	if err != nil {
		e.refuseForm(w, r, host, "other_browser", err)
		return
	}
	if r.Method != http.MethodPost {
		e.showLogin(w, host, st, http.StatusOK, "", "")
		return
	}
	// By what was typed, so that the answer does not tell who exists, and before
	// the password is looked at, so that guesses at the same time count too.
	who := host.Name + " " + username
	if ok, wait := e.SignIns.Allow(who); !ok {
		e.Audit.Write(r.Context(), st.auditEntry(host, audit.LoginRefused, "too_many_sign_ins"))
		(&web.TooMany{Wait: wait}).Headers(w.Header())
		e.showLogin(w, host, st, http.StatusTooManyRequests, username, "Too many attempts to sign in with that user name. Wait a minute and try again.")
		return
	}
	identity, err := e.Password.Authenticate(r.Context(), username, password)
	if !errors.Is(err, connector.ErrRejected) {
		e.SignIns.Return(who) // only wrong passwords are to be few
	}
	switch {
	case errors.Is(err, connector.ErrRejected):
		e.Audit.Write(r.Context(), st.auditEntry(host, audit.LoginRefused, "wrong_password"))
		e.showLogin(w, host, st, http.StatusUnauthorized, username, "That user name and password do not match an account. Try again.")
		return
	case errors.Is(err, connector.ErrUnavailable):
		e.Audit.Write(r.Context(), st.auditEntry(host, audit.LoginRefused, "provider_unavailable"))
		w.Header().Set("Retry-After", "5")
		e.showLogin(w, host, st, http.StatusServiceUnavailable, username, "Too many people are signing in right now. Wait a moment and try again.")
		return
	case err != nil:
		e.endInError(w, r, host, st.pending, audit.LoginRefused, loginError(err))
		return
	}
	e.Steps.endLogin(w, r, host, st.Login.State)
	if !e.spend(w, r, host, st.Flow, "login "+st.Login.State, loginTTL) {
		return
	}
	e.complete(w, r, host, st, identity, connector.Session{})
}

func (e *Endpoint) showLogin(w http.ResponseWriter, host *resource.Host, st loginState, status int, username, problem string) {
	view := page.Login{Action: LoginPath, State: st.Login.State, Username: username, ErrorText: problem, ClientName: st.ClientName, FlowID: st.Flow}
	if res, ok := host.Requested(st.Resource); ok {
		view.ServerName = res.DisplayName
	}
	e.Pages.Login(w, status, view)
}
