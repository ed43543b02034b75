package registration

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Path of the registration endpoint.
const Path = "/register"

// Endpoint serves POST /register (RFC 7591, section 3).
type Endpoint struct {
	Dynamic *Dynamic
	Audit   *audit.Log
}

// Routes returns the route of the registration endpoint.
func (e *Endpoint) Routes() []web.Route {
	return []web.Route{{
		Pattern: Path, Methods: []string{http.MethodPost}, Serve: e.Serve, Public: true,
		Waits: true, Begins: true, Refused: audit.RegistrationRefused, Registers: true,
	}}
}

// Serve registers a client. Nothing is stored, however many register.
func (e *Endpoint) Serve(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	entry := audit.Entry{Event: audit.ClientRegistered, Host: host.Name}
	resp, err := e.register(w, r, host)
	if err != nil {
		entry.Event, entry.Reason = audit.RegistrationRefused, reasons.ServerError
		if oe, ok := errors.AsType[*oauth.Error](err); ok {
			entry.Reason, entry.Cause = oe.AuditReason(), errors.New(oe.Description)
		} else if _, ok := errors.AsType[*web.TooLarge](err); ok {
			entry.Reason = reasons.BodyTooLarge
		}
		e.Audit.Write(r.Context(), entry)
		web.FormError(w, err)
		return
	}
	client := Client{ID: resp.ClientID}
	entry.Client, entry.Name = client.ShortID(), resp.ClientName
	entry.Redirect = strings.Join(resp.RedirectURIs, " ")
	e.Audit.Write(r.Context(), entry)
	web.JSON(w, http.StatusCreated, resp)
}

func (e *Endpoint) register(w http.ResponseWriter, r *http.Request, host *resource.Host) (Response, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return Response{}, &oauth.Error{Code: oauth.InvalidClientMetadata, Description: "the body must be application/json", Reason: reasons.WrongMediaType}
	}
	body, err := web.Body(w, r, MaxBodyBytes)
	if err != nil {
		return Response{}, err
	}
	req, err := e.Dynamic.parseRequest(body)
	if err != nil {
		return Response{}, err
	}
	return e.Dynamic.Register(host, req)
}
