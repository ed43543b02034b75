package grant

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// tokenExchangeType is the value of grant_type (RFC 8693, section 2.1).
const tokenExchangeType = "urn:ietf:params:oauth:grant-type:token-exchange"

// Types of tokens (RFC 8693, section 3). The last is of this service's own: a handle of
// a provider's token.
const (
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
	idTokenType     = "urn:ietf:params:oauth:token-type:id_token"
	jwtType         = "urn:ietf:params:oauth:token-type:jwt"
	handleType      = "urn:mcp-forward-auth:token-type:handle"
)

// Exchanges is what the token exchange needs in addition.
type Exchanges struct {
	Resources  *resource.Table
	Identities *token.IdentityVerifier
	// Person returns the person with a full subject. ok is false if the person is not of
	// a configured provider.
	Person func(subject string) (id connector.Identity, ok bool)
}

// tokenExchange is the grant by which an MCP server gets a token to act for its caller
// (RFC 8693): the identity provider's, or one for another MCP server that it calls. As
// subject_token it shows what this service sent it with the caller's request: the
// identity header or a handle. The client's access token is not accepted, because it is
// not the server's to use.
func (e *Endpoint) tokenExchange(c *call) (*Response, error) {
	s, err := e.askingServer(c)
	if err != nil {
		return nil, err
	}
	sub, err := e.readSubject(c)
	if err != nil {
		return nil, err
	}
	if !s.is(sub.at) {
		return nil, subjectRefused(reasons.ExchangeNotForServer, nil)
	}
	c.entry.Actor = s.actor.String()
	target, err := e.target(c, sub)
	if err != nil {
		return nil, err
	}
	if target == nil {
		return e.exchangeForProvider(c, sub)
	}
	return e.exchangeForServer(c, s, sub, target)
}

// server is the MCP server that asks: a client of the configuration, or a workload.
type server struct {
	client   string // "" for a workload
	workload resource.Workload
	actor    *actor.Actor
	policy   policy.Client
	id       string // the client_id of its tokens
}

// is reports whether s may act as the MCP server at r.
func (s *server) is(r *resource.Resource) bool {
	switch {
	case r.Exchange == nil:
		return false
	case s.client != "":
		return slices.Contains(r.Exchange.Clients, s.client)
	}
	return slices.Contains(r.Exchange.Workloads, s.workload)
}

// askingServer returns the MCP server that asks: the client that authenticated, or the
// workload whose assertion is the actor_token.
func (e *Endpoint) askingServer(c *call) (*server, error) {
	raw, kind := c.params.Get("actor_token"), c.params.Get("actor_token_type")
	switch {
	case (raw == "") != (kind == ""):
		return nil, oauth.Errorf(oauth.InvalidRequest, "actor_token and actor_token_type go together")
	case c.client != nil && (!c.client.PreRegistered || !proven(c.client)):
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "this client may not use the grant %s", tokenExchangeType)
	case c.client != nil && raw != "":
		return nil, oauth.Errorf(oauth.InvalidRequest, "a client that authenticates acts itself; leave actor_token out")
	case c.client != nil:
		return &server{
			client: c.client.ID, id: c.client.ID, policy: policyClient(c),
			actor: &actor.Actor{Subject: rule.ClientNamespace + ":" + c.client.ID},
		}, nil
	case raw == "":
		return nil, invalidClient(reasons.ClientIDMissing, nil)
	case kind != jwtType:
		return nil, oauth.Errorf(oauth.InvalidRequest, "actor_token_type must be %s", jwtType)
	}
	return e.workload(c, raw)
}

// workload returns the server whose assertion is the actor_token.
func (e *Endpoint) workload(c *call, raw string) (*server, error) {
	if e.Assertions == nil || e.Assertions.NeedsClient(raw) {
		return nil, actorRefused(nil)
	}
	g, err := e.Assertions.Read(c.Context(), raw, assertion.Place{Issuer: c.host.Issuer, TokenEndpoint: c.host.Issuer + Path})
	if oe, ok := errors.AsType[*oauth.Error](err); ok && oe.Code == oauth.InvalidGrant {
		return nil, actorRefused(oe)
	}
	if err != nil {
		return nil, err
	}
	if g.Actor != nil || g.Key != "" { // no such workload can be configured
		return nil, actorRefused(nil)
	}
	id := g.Person.FullSubject()
	if err := e.count(c, id); err != nil {
		return nil, err
	}
	if g.Used != "" {
		c.alsoSpend(func() error { return e.spendActor(c, g) })
	}
	return &server{
		workload: resource.Workload{Issuer: g.Issuer().Issuer, Subject: g.Person.Subject}, id: id,
		policy: policy.Client{Key: oauth.ClientKey(id), Kind: rule.KindWorkload},
		actor:  &actor.Actor{Issuer: g.Issuer().Issuer, Subject: g.Person.Subject},
	}, nil
}

// spendActor uses up an assertion that may be used once.
func (e *Endpoint) spendActor(c *call, g *assertion.Grantee) error {
	err := e.spendGrant(c, g.Used, g.Expires)
	if oe, ok := errors.AsType[*oauth.Error](err); ok && oe.Code == oauth.InvalidGrant {
		return actorRefused(oe)
	}
	return err
}

// actorRefused refuses the actor_token. The error is invalid_request, not invalid_grant
// (RFC 8693, section 2.2.2).
func actorRefused(cause *oauth.Error) error {
	out := &oauth.Error{Code: oauth.InvalidRequest, Description: "actor_token is not valid", Reason: reasons.InvalidAssertion}
	if cause != nil {
		out.Reason, out.Cause = cause.AuditReason(), cause.Cause
	}
	return out
}

// subjectRefused refuses the subject_token, as actorRefused does the actor_token.
func subjectRefused(reason reasons.Reason, cause error) error {
	return &oauth.Error{Code: oauth.InvalidRequest, Description: "subject_token is not valid for this server", Reason: reason, Cause: cause}
}

// subject is the caller of the MCP server, by the subject_token.
type subject struct {
	at     *resource.Resource // the MCP server that got the subject_token
	family string
	facts  revocation.Facts
	// identity is the content of the identity header; nil if a handle was shown.
	identity *token.Identity
	ticket   token.Ticket
}

// readSubject reads the subject_token, which is the identity header or a handle, and
// refuses it if the sign-in has ended.
func (e *Endpoint) readSubject(c *call) (*subject, error) {
	raw := c.params.Get("subject_token")
	if raw == "" || c.params.Get("subject_token_type") == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "subject_token or subject_token_type is missing")
	}
	var s *subject
	var err error
	switch c.params.Get("subject_token_type") {
	case jwtType:
		s, err = e.subjectOfIdentity(c, raw)
	case handleType:
		s, err = e.subjectOfHandle(c, raw)
	default:
		return nil, oauth.Errorf(oauth.InvalidRequest, "subject_token_type must be %s, of the identity header, or %s; an access token of a client is not taken", jwtType, handleType)
	}
	if err != nil {
		return nil, err
	}
	c.entry.Family, c.entry.Resource = s.family, s.at.URI
	return s, e.checkSubject(s)
}

// checkSubject refuses a subject whose sign-in has ended.
func (e *Endpoint) checkSubject(s *subject) error {
	if reason := e.Ended.Check(s.facts); reason != revocation.None {
		return subjectRefused(reason, nil)
	}
	return nil
}

func (e *Endpoint) subjectOfIdentity(c *call, raw string) (*subject, error) {
	id, ticket, err := e.Exchanges.Identities.Open(raw, c.host.Issuer)
	if err != nil {
		return nil, subjectRefused(exchangeReason(err), nil)
	}
	c.entry.Subject, c.entry.Email = id.Subject, id.Email
	at := e.Exchanges.Resources.Named(id.Audience)
	if at == nil || at.Host != c.host || at.Exchange == nil {
		return nil, subjectRefused(reasons.WrongAudience, nil)
	}
	return &subject{at: at, family: ticket.Family, identity: &id, ticket: ticket, facts: revocation.Facts{
		TokenID: ticket.TokenID, Family: ticket.Family, Subject: id.Subject, Email: id.Email, EmailUnknown: ticket.EmailUnknown, Client: id.Client,
		Since: ticket.Issued - revocation.IssueSlack,
	}}, nil
}

// exchangeReason returns the audit reason for an identity header that is refused.
func exchangeReason(err error) reasons.Reason {
	switch {
	case errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrNotYet):
		return reasons.ExpiredToken
	case errors.Is(err, token.ErrIssuer):
		return reasons.WrongIssuer
	case errors.Is(err, token.ErrKey):
		return reasons.UnknownSigningKey
	case errors.Is(err, token.ErrSignature):
		return reasons.BadSignature
	case errors.Is(err, token.ErrNoTicket):
		return reasons.NothingToExchange
	case errors.Is(err, token.ErrHeader):
		return reasons.WrongTokenType
	}
	return reasons.MalformedToken
}

func (e *Endpoint) subjectOfHandle(c *call, raw string) (*subject, error) {
	if e.Held == nil {
		return nil, subjectRefused(reasons.NothingToExchange, nil)
	}
	family, uri, err := e.Held.Handle(c.host.Issuer, raw)
	if err != nil {
		return nil, subjectRefused(reasons.ExpiredToken, err)
	}
	at := e.Exchanges.Resources.Named(uri)
	if at == nil || at.Host != c.host || at.Exchange == nil {
		return nil, subjectRefused(reasons.WrongAudience, nil)
	}
	return &subject{at: at, family: family, facts: revocation.Facts{Family: family}}, nil
}

// target returns the MCP server that the parameters resource and audience name (RFC 8693,
// section 2.1). It returns nil if they name the server that asks, or nothing: the server
// then wants the provider's token.
func (e *Endpoint) target(c *call, s *subject) (*resource.Resource, error) {
	var found *resource.Resource
	names := c.params.All("resource")
	if len(names) == 0 {
		names = c.params.All("audience")
	}
	for _, name := range names {
		r := e.exchangeTarget(s.at, name)
		if len(c.params.All("resource")) == 0 && strings.TrimSuffix(name, "/") == s.at.Host.Issuer {
			r = s.at // the subject_token says which server of the issuer it is
		}
		if r == nil || found != nil && found != r {
			return nil, &oauth.Error{Code: oauth.InvalidTarget, Description: "resource or audience is not one MCP server that this server may call", Reason: reasons.ExchangeTarget}
		}
		found = r
	}
	for _, name := range c.params.All("audience") { // it must agree with resource
		if r := e.exchangeTarget(s.at, name); r != found && strings.TrimSuffix(name, "/") != found.Host.Issuer {
			return nil, &oauth.Error{Code: oauth.InvalidTarget, Description: "audience is neither the MCP server that resource names nor its issuer", Reason: reasons.ExchangeTarget}
		}
	}
	if found == s.at {
		return nil, nil
	}
	return found, nil
}

// exchangeTarget returns the MCP server with this URI, if the server at r is that server
// or may call it; else nil.
func (e *Endpoint) exchangeTarget(r *resource.Resource, name string) *resource.Resource {
	uri, err := oauth.CanonicalResource(name)
	if err != nil {
		return nil
	}
	if uri == r.URI {
		return r
	}
	if slices.ContainsFunc(r.Exchange.Targets, func(t resource.Target) bool { return t.Resource == uri }) {
		return e.Exchanges.Resources.Named(uri)
	}
	return nil
}

// checkRequestedType refuses a requested_token_type other than kind.
func checkRequestedType(c *call, kind string) error {
	if asked := c.params.Get("requested_token_type"); asked != "" && asked != kind {
		return oauth.Errorf(oauth.InvalidRequest, "requested_token_type must be %s, or left out", kind)
	}
	return nil
}

// exchangeForProvider gives the server the identity provider's token.
func (e *Endpoint) exchangeForProvider(c *call, s *subject) (*Response, error) {
	t := s.at.ProviderToken
	switch {
	case t == nil:
		return nil, &oauth.Error{Code: oauth.InvalidTarget, Description: "this server gets no token of an identity provider; name the MCP server that it calls with resource", Reason: reasons.ExchangeTarget}
	case !t.Held:
		return nil, &oauth.Error{Code: oauth.InvalidTarget, Description: "the identity provider's token comes with each request, in the header " + t.Header, Reason: reasons.ExchangeTarget}
	}
	kind, typ := accessTokenType, "Bearer"
	if t.Token == "id" {
		kind, typ = idTokenType, "N_A" // RFC 8693, section 2.2.1
	}
	if err := checkRequestedType(c, kind); err != nil {
		return nil, err
	}
	asked, err := oauth.ParseScopes(c.params.Get("scope"))
	if err != nil {
		return nil, err
	}
	if len(asked.Intersect(t.Scopes)) != len(asked) {
		return nil, &oauth.Error{Code: oauth.InvalidScope, Description: "the identity provider's token has the scopes of the sign-in and no others", Reason: reasons.ScopeNotGranted}
	}
	k, err := e.supplyHeld(c, s)
	if err != nil {
		return nil, err
	}
	if err := c.spendProof(); err != nil {
		return nil, err
	}
	c.entry.Event, c.entry.Scope = audit.TokenExchanged, oauth.Scopes(t.Scopes).String()
	resp := &Response{AccessToken: string(k.Value), IssuedType: kind, TokenType: typ, Scope: c.entry.Scope}
	if k.Expires != 0 {
		resp.ExpiresIn = max(k.Expires-e.Now().Unix(), 1)
	}
	return resp, nil
}

// supplyHeld returns the provider's token of the sign-in. It fills in who the person is,
// and checks again that the sign-in has not ended.
func (e *Endpoint) supplyHeld(c *call, s *subject) (providertoken.Token, error) {
	if e.Held == nil || s.family == "" {
		return providertoken.Token{}, subjectRefused(reasons.NothingToExchange, nil)
	}
	k, person, err := e.Held.Supply(c.Context(), s.family, s.at.URI)
	switch {
	case errors.Is(err, providertoken.ErrCannotTell):
		return k, &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the identity provider's token cannot be had right now", Reason: reasons.ProviderUnavailable, Cause: err}
	case err != nil:
		return k, subjectRefused(reasons.ProviderSessionOver, err)
	}
	c.entry.Subject, c.entry.Email = person.FullSubject(), person.Email
	s.facts.Subject, s.facts.Email, s.facts.EmailUnknown = person.FullSubject(), person.Email, person.Unknown.Email
	return k, e.checkSubject(s)
}

// exchangeForServer mints an access token for the MCP server target, at which s acts for
// its caller.
func (e *Endpoint) exchangeForServer(c *call, s *server, sub *subject, target *resource.Resource) (*Response, error) {
	if sub.identity == nil {
		return nil, oauth.Errorf(oauth.InvalidRequest, "a handle stands for the identity provider's token alone; show the identity header")
	}
	if err := checkRequestedType(c, accessTokenType); err != nil {
		return nil, err
	}
	chain := &actor.Actor{Issuer: s.actor.Issuer, Subject: s.actor.Subject, ClientID: s.actor.ClientID, Act: sub.identity.Act}
	if len(chain.Names()) > actor.MaxDepth {
		return nil, subjectRefused(reasons.TooManyActors, nil)
	}
	c.entry.Actor = chain.String()
	person, ok := e.Exchanges.Person(sub.identity.Subject)
	if !ok {
		return nil, subjectRefused(reasons.NothingToExchange, nil)
	}
	person.Email, person.Name, person.Groups = sub.identity.Email, sub.identity.Name, sub.identity.Groups
	person.Unknown = connector.Unknown{Email: sub.ticket.EmailUnknown, Groups: sub.identity.GroupsOmitted}
	if _, err := c.bind(target, ""); err != nil {
		return nil, err
	}
	scopes, err := e.exchangeScopes(c, sub, target)
	if err != nil {
		return nil, err
	}
	who := policy.Outsider{Person: person, Client: s.policy, ClientID: s.id, Actors: chain.Names()}
	match := e.Policy.For(target.URI).MatchOutsider(&who)
	c.entry.Resource = target.URI
	if scopes, err = e.machinePolicy(c, match, scopes); err != nil {
		return nil, err
	}
	if err := e.checkFacts(revocation.Facts{Subject: sub.identity.Subject, Client: revocation.Client(s.id)}); err != nil {
		return nil, err
	}
	if err := c.spendProof(); err != nil {
		return nil, err
	}
	c.entry.Event, c.entry.Scope = audit.TokenExchanged, scopes.String()
	resp, err := e.mint(c, grantee{
		Resource: target.URI, At: target, Family: sub.family, Scopes: scopes, Identity: person, Policy: match.String(), Client: s.id,
		Until: e.exchangedUntil(sub), Actor: chain,
	})
	if errors.Is(err, token.ErrTooLarge) {
		return nil, subjectRefused(reasons.InvalidAssertion, err)
	}
	if err == nil {
		resp.IssuedType = accessTokenType
	}
	return resp, err
}

// exchangedUntil returns when an exchanged token expires: with the caller's own access
// token at the latest.
func (e *Endpoint) exchangedUntil(sub *subject) time.Time {
	until := time.Unix(sub.ticket.Expires, 0)
	if end := e.Now().Add(sub.at.Exchange.Lifetime); end.Before(until) {
		return end
	}
	return until
}

// exchangeScopes returns the scopes that are asked for, or all that the server may have
// at target for this caller if none are. To ask for more than that is an error: a token
// with fewer scopes would surprise the server.
func (e *Endpoint) exchangeScopes(c *call, sub *subject, target *resource.Resource) (oauth.Scopes, error) {
	has := oauth.Scopes(strings.Fields(sub.identity.Scope))
	var may oauth.Scopes
	for _, t := range sub.at.Exchange.Targets {
		if t.Resource == target.URI && len(t.Requires.Intersect(has)) == len(t.Requires) {
			may = may.Union(t.Scopes)
		}
	}
	if c.client != nil {
		may = c.client.Narrow(may)
		if !c.client.MayReach(target.URI) {
			may = nil
		}
	}
	asked, err := oauth.ParseScopes(c.params.Get("scope"))
	if err != nil {
		return nil, err
	}
	if len(may) == 0 {
		return nil, &oauth.Error{Code: oauth.InvalidTarget, Description: "the caller's own request gives nothing at this MCP server", Reason: reasons.ExchangeTarget}
	}
	if len(asked) == 0 {
		return may, nil
	}
	if len(asked.Intersect(may)) != len(asked) {
		return nil, &oauth.Error{Code: oauth.InvalidScope, Description: "the scopes are more than this server may have there for this caller: " + may.String(), Reason: reasons.ScopeNotGranted}
	}
	return asked, nil
}
