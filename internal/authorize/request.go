package authorize

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Bounds on what a client may send, in bytes. State, redirect URI and scopes travel in a
// URL or in cookies of the browser, which must fit into the header buffers of proxies.
const (
	maxStateBytes    = 4 << 10
	maxOfferedBytes  = 4 << 10 // of the scopes on one consent page
	maxWithheldBytes = 1 << 10 // of the scopes that the page names as withheld
	// Granted scopes and the client id travel in every access token, which must fit into
	// a header.
	maxScopeBytes    = 1 << 10
	maxIDScopesBytes = 1600
	maxCarriedBytes  = 5 << 10
)

// request is an authorization request while it is checked (RFC 6749, section 4.1.1). The
// checks fill in its fields in their order.
type request struct {
	flow   string
	host   *resource.Host
	params oauth.Params
	pushed bool // the client pushed it, see push.go

	device           string // the record of the device that asks, "" for a request at /authorize
	client           *registration.Client
	redirect         oauth.RedirectURI // zero until matched
	rejectedRedirect string            // shown to the person, never followed
	state            string
	challenge        string
	key              string // thumbprint, "" for none
	resource         *resource.Resource
	catalogue        *catalog.Catalogue
	offered          oauth.Scopes
	named            bool         // the client asked for offered by name
	more             oauth.Scopes // what else the person may grant
	withheld         oauth.Scopes
	offline          bool
	prompt           string
}

type check func(r *http.Request, req *request) error

// checks lists the checks in order.
func (e *Endpoint) checks() []check {
	return append([]check{readQuery, e.openPushed}, e.requestChecks()...)
}

// requestChecks lists the checks of the parameters, in order. An error up to
// matchRedirectURI is shown on a page. A later one may be told to the client.
func (e *Endpoint) requestChecks() []check {
	return []check{
		refuseRepeatedIdentity,
		e.findClient,
		e.limitClient,
		e.matchRedirectURI,
		// From here on the redirect URI is the client's own.
		e.demandPushed,
		readState,
		refuseRepeated,
		checkResponseType,
		checkResponseMode,
		refuseRequestObjects,
		checkCodeChallenge,
		findResource,
		checkClientResource,
		readThumbprint,
		e.selectScopes,
		e.checkPolicy,
		checkPrompt,
	}
}

func readQuery(r *http.Request, req *request) error {
	values, err := web.Query(r)
	if err != nil {
		return err
	}
	req.params = oauth.NewParams(values, "resource")
	return nil
}

// refuseRepeatedIdentity refuses two client ids or redirect URIs, because it would be
// unclear whom to tell of an error.
func refuseRepeatedIdentity(_ *http.Request, req *request) error {
	if req.params.Duplicated("client_id") || req.params.Duplicated("redirect_uri") {
		return req.params.CheckDuplicates()
	}
	return nil
}

func (e *Endpoint) findClient(r *http.Request, req *request) error {
	id := req.params.Get("client_id")
	if id == "" {
		return &oauth.Error{Code: oauth.InvalidRequest, Description: "client_id is missing", Reason: reasons.ClientIDMissing}
	}
	client, err := e.Clients.Client(r.Context(), req.host, id)
	switch {
	case errors.Is(err, registration.ErrUnfetchable):
		return &oauth.Error{Code: oauth.ServerError, Description: "the client's metadata document: " + registration.Unfetchable(err), Reason: reasons.ClientDocumentUnreachable, Cause: err}
	case errors.Is(err, registration.ErrUnavailable):
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the client's metadata document cannot be fetched right now", Reason: reasons.ClientDocumentUnavailable, Cause: err}
	case errors.Is(err, registration.ErrDocument):
		return &oauth.Error{Code: oauth.InvalidClient, Description: "the client's metadata document is not valid", Reason: reasons.ClientDocumentInvalid, Cause: err}
	case errors.Is(err, registration.ErrUnknown):
		return &oauth.Error{Code: oauth.InvalidClient, Description: "this client is not registered here", Reason: reasons.UnknownClient, Cause: err}
	}
	req.client = client
	return err
}

// limitClient bounds the requests of a client. It comes after findClient, so that made-up
// ids take no place in the limiter.
func (e *Endpoint) limitClient(_ *http.Request, req *request) error {
	if ok, wait := e.Requests.Allow(req.host.Name + " " + req.client.Key()); !ok {
		return &web.TooMany{Reason: reasons.TooManyRequestsOfClient, Wait: wait}
	}
	return nil
}

// matchRedirectURI checks the redirect URI (RFC 6749, section 3.1.2.3). Only a client
// that registered exactly one may leave the parameter out.
func (e *Endpoint) matchRedirectURI(_ *http.Request, req *request) error {
	asked := req.params.Get("redirect_uri")
	if asked == "" {
		if len(req.client.RedirectURIs) != 1 {
			return &oauth.Error{Code: oauth.InvalidRequest, Description: "redirect_uri is missing", Reason: reasons.RedirectURIMissing}
		}
		asked = req.client.RedirectURIs[0]
	}
	matched, ok := oauth.MatchRedirectURI(req.client.RedirectURIs, asked)
	if !ok {
		req.rejectedRedirect = asked
		return &oauth.Error{Code: oauth.InvalidRequest, Description: "redirect_uri is not one that this client registered", Reason: reasons.RedirectURIMismatch}
	}
	req.redirect = matched
	return nil
}

func refuseRepeated(_ *http.Request, req *request) error { return req.params.CheckDuplicates() }

func readState(_ *http.Request, req *request) error {
	state := req.params.Get("state")
	if len(state) > maxStateBytes {
		return oauth.Errorf(oauth.InvalidRequest, "state is longer than %d bytes", maxStateBytes)
	}
	// RFC 6749, appendix A.5, allows visible ASCII. Other text comes back as it
	// came; invalid UTF-8 is refused, because JSON encoding would replace it, and
	// the client would get back another state.
	if !utf8.ValidString(state) || strings.ContainsFunc(state, unicode.IsControl) {
		return oauth.Errorf(oauth.InvalidRequest, "state has a control character or is not UTF-8")
	}
	if carriedBytes(state)+len(req.redirect.String()) > maxCarriedBytes {
		return oauth.Errorf(oauth.InvalidRequest, "state and redirect_uri are too long together")
	}
	req.state = state
	return nil
}

// carriedBytes returns the size of s in a sealed value, which is JSON.
func carriedBytes(s string) int {
	n := len(s)
	for _, c := range s {
		switch c {
		case '"', '\\':
			n++
		case '\u2028', '\u2029':
			n += 3
		}
	}
	return n
}

func checkResponseType(_ *http.Request, req *request) error {
	switch req.params.Get("response_type") {
	case "code":
		return nil
	case "":
		return oauth.Errorf(oauth.InvalidRequest, "response_type is missing")
	}
	return oauth.Errorf(oauth.UnsupportedResponseType, "response_type must be code")
}

func checkResponseMode(_ *http.Request, req *request) error {
	if m := req.params.Get("response_mode"); m != "" && m != "query" {
		return oauth.Errorf(oauth.InvalidRequest, "response_mode must be query")
	}
	return nil
}

// refuseRequestObjects refuses request objects (OpenID Connect Core, section 6). Nothing
// is fetched.
func refuseRequestObjects(_ *http.Request, req *request) error {
	if req.params.Get("request") != "" {
		return oauth.Errorf(oauth.RequestNotSupported, "the request parameter is not supported")
	}
	if req.params.Get("request_uri") != "" {
		return oauth.Errorf(oauth.RequestURINotSupported, "the request_uri parameter is not supported")
	}
	return nil
}

// checkCodeChallenge demands PKCE with S256 from every client. Without a method it would
// be "plain" (RFC 7636, section 4.3).
func checkCodeChallenge(_ *http.Request, req *request) error {
	challenge := req.params.Get("code_challenge")
	switch {
	case challenge == "":
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge is missing; PKCE is required")
	case req.params.Get("code_challenge_method") != "S256":
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge_method must be S256")
	case !oauth.ValidCodeChallenge(challenge):
		return oauth.Errorf(oauth.InvalidRequest, "code_challenge is not an S256 challenge of 43 characters")
	}
	req.challenge = challenge
	return nil
}

// findResource finds the one resource that the request names (RFC 8707, section 2).
func findResource(_ *http.Request, req *request) error {
	asked := req.params.All("resource")
	if len(asked) == 0 {
		// Revision 2025-03-26 of MCP has no resource parameter.
		res, ok := req.host.Default()
		if !ok {
			return oauth.Errorf(oauth.InvalidTarget, "resource is missing and this host has several")
		}
		req.resource = res
		return nil
	}
	for _, uri := range asked {
		res, ok := req.host.ForSignIn(uri)
		if !ok {
			return oauth.Errorf(oauth.InvalidTarget, "resource is not an MCP server of this host")
		}
		if req.resource != nil && req.resource != res {
			return oauth.Errorf(oauth.InvalidTarget, "more than one resource is named; ask for one")
		}
		req.resource = res
	}
	return nil
}

// checkClientResource refuses a resource that the operator has closed to the client.
func checkClientResource(_ *http.Request, req *request) error {
	if !req.client.MayReach(req.resource.URI) {
		return oauth.Errorf(oauth.InvalidTarget, "this client may not have tokens for the resource")
	}
	return nil
}

// readThumbprint reads the key that the code is to be bound to (RFC 9449, section 10). It
// is ignored at a resource without bound tokens, as proofs are.
func readThumbprint(_ *http.Request, req *request) error {
	jkt := req.params.Get("dpop_jkt")
	if jkt == "" || !req.resource.DPoP.Accepts() {
		return nil
	}
	if !oauth.ValidThumbprint(jkt) {
		return oauth.Errorf(oauth.InvalidRequest, "dpop_jkt is not a thumbprint of 43 characters")
	}
	req.key = jkt
	return nil
}

// selectScopes decides which scopes the consent page offers: those that the client asked
// for and the resource has. Unknown scopes are ignored (RFC 6749, section 3.3), because
// clients ask for scopes that they once saw, or for those of OpenID Connect. If none is
// left, or none was asked for, the resource's default scopes are offered.
func (e *Endpoint) selectScopes(r *http.Request, req *request) error {
	asked, err := oauth.ParseScopes(req.params.Get("scope"))
	if err != nil {
		return err
	}
	req.offline = asked.Contains(oauth.OfflineAccess) // asks for a refresh token, not for a right
	cat := e.Catalogue(r.Context(), req.resource)
	req.named = len(asked.Intersect(cat.ScopeNames())) > 0
	if req.offered = offer(asked, req.resource.DefaultScopes, req.client, cat); len(req.offered) == 0 {
		return oauth.Errorf(oauth.InvalidScope, "none of the scopes of this MCP server is allowed for this client")
	}
	req.catalogue = cat
	return nil
}

// checkPolicy takes away the scopes that the rules deny to every user of this client. The
// rules for the person are applied after the sign-in.
func (e *Endpoint) checkPolicy(_ *http.Request, req *request) error {
	client := policy.Client{Key: req.client.Key(), Kind: req.client.Kind(), Host: req.client.VouchedBy}
	match := e.Policy.For(req.resource.URI).MatchClient(client)
	allowed := match.Narrow(req.offered)
	switch {
	case len(allowed) > 0:
	case req.catalogue.Unavailable: // DefaultScope is offered, which the rules do not name
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "which scopes there are is not known right now", Reason: reasons.CatalogueUnavailable}
	default:
		return &oauth.Error{Code: oauth.AccessDenied, Description: "the rules of this service do not let this app have what it asks for", Reason: reasons.ClientNotAllowedByPolicy}
	}
	req.withheld = fitting(minus(req.offered, allowed), maxWithheldBytes)
	// An MCP server may advertise more than a consent page can carry.
	req.offered = fitting(allowed, maxOfferedBytes)
	// The person may grant more than was asked for (RFC 6749, section 3.3): some
	// clients ask for the same scopes again after they were refused because they lacked others.
	_, all := usualScopes(req.resource.DefaultScopes, req.catalogue)
	req.more = fitting(match.Narrow(minus(req.client.Narrow(all), req.offered)), maxOfferedBytes-req.offered.Len())
	return nil
}

func minus(scopes, others oauth.Scopes) oauth.Scopes {
	return slices.DeleteFunc(slices.Clone(scopes), others.Contains)
}

// offer returns the scopes of the catalogue that the client may have: those that it asked
// for, or else the usual ones, or else all.
func offer(asked, defaults oauth.Scopes, client *registration.Client, cat *catalog.Catalogue) oauth.Scopes {
	usual, all := usualScopes(defaults, cat)
	for _, scopes := range []oauth.Scopes{asked.Intersect(all), usual, all} {
		if offered := client.Narrow(scopes); len(offered) > 0 {
			return offered
		}
	}
	return nil
}

// usualScopes returns the default scopes of a resource, and all of its scopes.
func usualScopes(defaults oauth.Scopes, cat *catalog.Catalogue) (usual, all oauth.Scopes) {
	all = cat.ScopeNames()
	if cat.Unavailable {
		all = all.Union(defaults) // the operator names them, so they exist
	}
	if usual = defaults.Intersect(all); len(usual) == 0 {
		usual = all
	}
	return usual, all
}

// fitting returns as many of the first scopes as fit into limit bytes of a scope
// parameter.
func fitting(scopes oauth.Scopes, limit int) oauth.Scopes {
	room := limit + 1
	for i, s := range scopes {
		if room -= len(s) + 1; room < 0 {
			return scopes[:i]
		}
	}
	return scopes
}

// scopeRoom returns how many bytes of scopes an access token of this client can hold.
func scopeRoom(clientID string) int {
	return max(maxScopeBytes/4, min(maxScopeBytes, maxIDScopesBytes-len(clientID)))
}

// checkPrompt reads prompt (OpenID Connect Core, section 3.1.2.1). "none" is always an
// error: the consent page is shown to the person each time.
func checkPrompt(_ *http.Request, req *request) error {
	prompts := strings.Fields(req.params.Get("prompt"))
	for _, p := range prompts {
		switch p {
		case "none":
			if len(prompts) > 1 {
				return oauth.Errorf(oauth.InvalidRequest, "prompt none excludes every other value")
			}
			return oauth.Errorf(oauth.InteractionRequired, "the user has to be asked")
		case "login", "select_account":
			req.prompt = p
		}
	}
	return nil
}

// pending returns the checked request, as the consent step carries it.
func (req *request) pending() pending {
	return pending{
		Flow: req.flow, ClientKey: req.client.Key(), ClientID: req.client.ShortID(), ClientName: req.client.Name,
		VouchedBy: req.client.VouchedBy, LoopbackOnly: req.client.LoopbackOnly(), Trusted: req.client.Trusted,
		Redirect: req.redirect, State: req.state, Challenge: req.challenge, Key: req.key,
		Resource: req.resource.URI, Offered: req.offered, Named: req.named, More: req.more, Withheld: req.withheld, Kind: req.client.Kind(), Prompt: req.prompt, ScopeRoom: scopeRoom(req.client.ID), Offline: req.offline,
	}
}

func (req *request) auditEntry(event audit.Event, reason reasons.Reason) audit.Entry {
	entry := audit.Entry{Event: event, Reason: reason, Flow: req.flow, Host: req.host.Name}
	if req.client != nil {
		entry.Client, entry.Name = req.client.ShortID(), req.client.Name
	}
	if !req.redirect.IsZero() {
		entry.Redirect = req.redirect.DisplayHost()
	} else if req.rejectedRedirect != "" {
		entry.Cause = fmt.Errorf("redirect_uri %q", req.rejectedRedirect)
	}
	if req.resource != nil {
		entry.Resource = req.resource.URI
	}
	return entry
}
