package grant

import (
	"errors"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authcode"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Grace is how long at most the last but one refresh token gets the same answer again: a
// response may be lost, and several processes of one client may share a token and refresh
// at the same time. The period ends when the client first uses what the answer held, see
// guard.Guard. So a stolen token that is used after its owner's is noticed (OAuth 2.1,
// section 4.3.1; RFC 9700, section 4.14.2).
const Grace = 20 * time.Second

// Refresh makes and opens refresh tokens. A refresh token is a sealed value: one
// generation of a family, which is all tokens of one sign-in.
type Refresh struct {
	// Providers are asked about their people at each refresh, and the policy of the
	// sign-in is applied again.
	Providers provider.Set
	// Changed returns those of the scopes of a resource that open other tools than when
	// fingerprints was made. It does no I/O.
	Changed func(resource string, scopes []string, fingerprints string) []string
	// Agree returns what a person agrees to by granting the scopes of a resource now, see
	// catalog.Agree. It does no I/O.
	Agree func(resource string, scopes []string) string
	// Exists reports whether a resource has a scope, or may have it because its scopes
	// are not known. It does no I/O.
	Exists func(resource, scope string) bool
	// Idle is how long a token lives if it is not used. Absolute is how long a family
	// lives after its sign-in.
	Idle, Absolute time.Duration
	Now            func() time.Time

	tokens   seal.Box[refreshToken]
	answers  seal.Box[refreshAnswer]
	sessions seal.Box[connector.Session]
}

// NewRefresh returns r ready for use.
func NewRefresh(keys *seal.Keyring, r Refresh) *Refresh {
	r.tokens = seal.NewBox[refreshToken](keys, "refresh token")
	r.answers = seal.NewBox[refreshAnswer](keys, "refresh answer")
	r.sessions = seal.NewBox[connector.Session](keys, "refresh session")
	return &r
}

// refreshToken is the content of a refresh token. The issuer is associated data.
type refreshToken struct {
	Family     string            `json:"family"`
	Generation int               `json:"gen"`
	Issued     int64             `json:"iat"`
	AuthTime   int64             `json:"auth_time"`
	Flow       string            `json:"flow"`
	ClientKey  string            `json:"client"`
	Provider   string            `json:"prov,omitempty"`
	Namespace  string            `json:"ns"`
	Subject    string            `json:"sub"`
	Resource   string            `json:"resource"`
	Scopes     oauth.Scopes      `json:"scopes"`
	Catalogue  string            `json:"catalogue,omitempty"`
	Agreed     string            `json:"agreed,omitempty"` // see catalog.Agree
	Session    connector.Session `json:"session,omitzero"`
	// InGroups says that the person was in a group at the sign-in, or may have been.
	InGroups bool `json:"in_groups,omitempty"`
	// Key is the thumbprint of the key that the client must prove, "" for none.
	Key string `json:"jkt,omitempty"`
	// Held says that the session is in providertoken.Held, for the MCP server's token.
	Held bool `json:"held,omitempty"`
}

// refreshAnswer is the result of one exchange. The guard keeps it for requests that
// repeat the exchange.
type refreshAnswer struct {
	Token    string             `json:"token"`
	Identity connector.Identity `json:"identity"`
	// Provider is the identity provider's token for the access token.
	Provider providertoken.Token `json:"idp,omitzero"`
}

// person returns the person of the token, as much as the token says of them.
func (t *refreshToken) person() connector.Identity {
	return connector.Identity{Namespace: t.Namespace, Subject: t.Subject}
}

// first returns the refresh token for a redeemed code, "" if the client gets none. A
// client gets one if it registered the grant, or if it asked for offline_access. A client
// of the configuration gets one only if its entry has the grant. key is the key of the
// access token.
func (r *Refresh) first(c *call, a authcode.Authorization, key string) (string, error) {
	if r == nil || !c.client.MayUse("refresh_token") && (!a.Offline || c.client.PreRegistered) {
		return "", nil
	}
	if p := r.Providers.Find(a.Identity.Provider); p == nil || !p.MayRecheck(a.Session) {
		c.entry.Reason = reasons.NoRefreshToken // it would be refused at its first use
		return "", nil
	}
	session, held := a.Session.Lean(), false
	if t := provides(c.host, a.Resource, a.Identity.Provider); t != nil && t.Held {
		session, held = connector.Session{}, true
	}
	return r.seal(c, refreshToken{
		Family: a.ID, AuthTime: a.AuthTime, Flow: a.Flow, ClientKey: a.ClientKey,
		Provider: a.Identity.Provider, Namespace: a.Identity.Namespace, Subject: a.Identity.Subject,
		Resource: a.Resource, Scopes: a.Scopes, Catalogue: a.Catalogue, Agreed: a.Agreed, Session: session, InGroups: inGroups(a.Identity), Held: held,
		Key: c.refreshKey(key),
	})
}

func (r *Refresh) seal(c *call, t refreshToken) (string, error) {
	now := r.Now()
	t.Issued = now.Unix()
	return r.tokens.Seal(t, r.expires(t, now), c.host.Issuer)
}

// expires returns when a token of t's family that is made now expires.
func (r *Refresh) expires(t refreshToken, now time.Time) time.Time {
	idle, end := now.Add(r.Idle), time.Unix(t.AuthTime, 0).Add(r.Absolute)
	if end.Before(idle) {
		return end
	}
	return idle
}

// refreshing is a refresh request while it passes the checks.
type refreshing struct {
	*call
	token  refreshToken
	scopes oauth.Scopes // what the access token is to have, after the checks so far
	// identity is who the person is now, and match the rules for them. Both are known
	// after the exchange.
	identity connector.Identity
	match    policy.Match
	// key is the thumbprint of the key that the access token is bound to, "" for none.
	key      string
	supplied supplied // the identity provider's token
}

type refreshCheck func(*refreshing) error

// refreshChecks lists the checks before the exchange, in order; the first that fails
// decides. None asks the provider, and only the last spends anything, so that a request
// with a mistake, or at a bad time, costs the client nothing.
func (e *Endpoint) refreshChecks() []refreshCheck {
	return []refreshCheck{
		mayRefresh,
		e.openRefresh,
		ownRefresh,
		e.notTooOld,
		e.findProvider,
		findResource,
		checkKey,
		func(r *refreshing) error { return checkResource(r.call, r.token.Resource) },
		e.selectScopes,
		e.dropChangedScopes,
		e.checkClientPolicy,
		func(r *refreshing) error {
			return e.checkEnded(r.call, revocation.Facts{Family: r.token.Family, Subject: r.token.person().FullSubject(), Since: r.token.AuthTime})
		},
		e.checkChallenge,
		func(r *refreshing) error { return r.spendProof() },
	}
}

// identityChecks lists the checks after the exchange, of who the person is now.
func (e *Endpoint) identityChecks() []refreshCheck {
	return []refreshCheck{
		func(r *refreshing) error {
			return e.checkEnded(r.call, revocation.Facts{Email: r.identity.Email, EmailUnknown: r.identity.Unknown.Email, Since: r.token.AuthTime})
		},
		e.checkPolicy,
	}
}

// refresh is the refresh_token grant (RFC 6749, section 6; OAuth 2.1, section 4.3).
func (e *Endpoint) refresh(c *call) (*Response, error) {
	c.entry.Event = audit.TokenRefreshed
	r := &refreshing{call: c}
	if err := r.pass(e.refreshChecks()); err != nil {
		return nil, err
	}
	next, err := e.exchange(r)
	if err != nil {
		return nil, err
	}
	c.entry.Email = r.identity.Email
	if err := r.pass(e.identityChecks()); err != nil {
		return nil, err
	}
	c.entry.Scope = r.scopes.String()
	t := &r.token
	resp, err := e.mint(c, grantee{Flow: t.Flow, Family: t.Family, Resource: t.Resource, Scopes: r.scopes, Identity: r.identity, Policy: r.match.String(), Agreed: t.Agreed, Generation: t.Generation + 1, Key: t.Key, Provider: r.supplied})
	if err != nil {
		return nil, err
	}
	e.note(c, r.identity, allowed{Family: t.Family, Resource: t.Resource, Scopes: r.scopes, AuthTime: t.AuthTime, Refreshes: true})
	return resp, e.addRefresh(c, resp, next)
}

func (r *refreshing) pass(checks []refreshCheck) error {
	for _, check := range checks {
		if err := check(r); err != nil {
			return err
		}
	}
	return nil
}

// mayRefresh refuses a client of the configuration whose entry does not have the grant.
func mayRefresh(r *refreshing) error {
	if r.client.PreRegistered && !r.client.MayUse("refresh_token") {
		return oauth.Errorf(oauth.UnauthorizedClient, "this client may not use refresh tokens")
	}
	return nil
}

func (e *Endpoint) openRefresh(r *refreshing) error {
	raw := r.params.Get("refresh_token")
	if raw == "" {
		return oauth.Errorf(oauth.InvalidRequest, "refresh_token is missing")
	}
	t, err := e.Refresh.tokens.Open(raw, r.host.Issuer)
	if errors.Is(err, seal.ErrExpired) {
		if late, err := e.Refresh.tokens.Late(raw, r.host.Issuer); err == nil {
			r.noteRefresh(late)
		}
		return invalidRefresh(reasons.RefreshTokenExpired, nil)
	}
	if err != nil {
		return invalidRefresh(reasons.InvalidRefreshToken, err)
	}
	r.token = t
	r.noteRefresh(t)
	return nil
}

// noteRefresh writes into the audit entry whose refresh token it is.
func (c *call) noteRefresh(t refreshToken) {
	c.entry.Flow, c.entry.Family, c.entry.Resource, c.entry.Subject = t.Flow, t.Family, t.Resource, t.person().FullSubject()
}

func ownRefresh(r *refreshing) error {
	if r.token.ClientKey != r.client.Key() {
		return invalidRefresh(reasons.RefreshTokenOfAnotherClient, nil)
	}
	return nil
}

// notTooOld refuses a token whose family is too old. The operator may have shortened the
// lifetime since the token was made.
func (e *Endpoint) notTooOld(r *refreshing) error {
	if !e.Refresh.Now().Before(time.Unix(r.token.AuthTime, 0).Add(e.Refresh.Absolute)) {
		return invalidRefresh(reasons.RefreshTokenExpired, nil)
	}
	return nil
}

// findProvider refuses a token whose provider the operator has removed. The family does
// not end: the operator may put the provider back.
func (e *Endpoint) findProvider(r *refreshing) error {
	if e.Refresh.Providers.Find(r.token.Provider) == nil {
		return invalidRefresh(reasons.ProviderRemoved, nil)
	}
	return nil
}

// findResource refuses a token whose resource the operator has removed, or closed to the
// client.
func findResource(r *refreshing) error {
	uri := r.token.Resource
	if res, ok := r.host.ForSignIn(uri); !ok || res.URI != uri || !r.client.MayReach(uri) {
		return invalidRefresh(reasons.ResourceGone, nil)
	}
	return nil
}

// checkKey checks the proof of the key that the refresh token is bound to, if it is
// bound.
func checkKey(r *refreshing) error {
	key, err := r.bindTo(r.token.Resource, r.token.Key)
	r.key = key
	return err
}

// selectScopes selects the scopes that the client asks for among those that it may still
// have.
func (e *Endpoint) selectScopes(r *refreshing) (err error) {
	r.scopes, err = narrow(r.params.Get("scope"), r.client.Narrow(r.token.Scopes), func(scope string) bool { return e.Refresh.Exists(r.token.Resource, scope) })
	return err
}

// narrow returns the scopes of the access token: those that are asked for, which must all
// be granted, or everything that was granted if none are (RFC 6749, section 6). Scopes
// that the resource does not have are ignored, as they were at the sign-in, because
// clients repeat the words of their first request.
func narrow(asked string, granted oauth.Scopes, exists func(scope string) bool) (oauth.Scopes, error) {
	scopes, err := oauth.ParseScopes(asked)
	if err != nil {
		return nil, err
	}
	scopes = scopes.Without(oauth.OfflineAccess).Without("openid")
	scopes = slices.DeleteFunc(scopes, func(s string) bool { return !granted.Contains(s) && !exists(s) })
	if len(scopes) == 0 && len(granted) > 0 {
		return granted, nil
	}
	if len(granted) == 0 || len(scopes.Intersect(granted)) != len(scopes) {
		return nil, &oauth.Error{Code: oauth.InvalidScope, Description: "scope goes beyond what was granted", Reason: reasons.ScopeNotGranted}
	}
	return scopes, nil
}

// dropChangedScopes leaves out scopes that now open other tools than the person agreed
// to. A client that needs one asks for it, and the person sees the new tools. The refresh
// token keeps them, so a tool that is there only for a while has no lasting effect. If
// changed tools are held back one by one, all scopes stay; people who agreed before that
// setting was on count as agreeing to the tools of today.
func (e *Endpoint) dropChangedScopes(r *refreshing) error {
	held := holdsChanged(r.host, r.token.Resource)
	if held && r.token.Agreed != "" {
		return nil
	}
	for _, name := range e.Refresh.Changed(r.token.Resource, r.token.Scopes, r.token.Catalogue) {
		r.scopes = r.scopes.Without(name)
	}
	if len(r.scopes) == 0 {
		return invalidRefresh(reasons.ScopesChanged, nil)
	}
	if held {
		r.token.Agreed = e.Refresh.Agree(r.token.Resource, r.scopes)
	}
	return nil
}

// checkClientPolicy leaves out scopes that the rules deny to every user of the client.
func (e *Endpoint) checkClientPolicy(r *refreshing) error {
	r.scopes = e.Policy.For(r.token.Resource).MatchClient(policyClient(r.call)).Narrow(r.scopes)
	if len(r.scopes) == 0 {
		return invalidRefresh(reasons.ClientNotAllowedByPolicy, nil)
	}
	return nil
}

func policyClient(c *call) policy.Client {
	return policy.Client{Key: c.client.Key(), Kind: c.client.Kind(), Host: c.client.VouchedBy}
}

// checkEnded refuses a grant that was revoked, or whose person or client is denied. A
// denial revokes nothing: when the operator lifts it, the grant works again.
func (e *Endpoint) checkEnded(c *call, f revocation.Facts) error {
	f.Client = revocation.Client(c.client.ID)
	return e.checkFacts(f)
}

// checkFacts is checkEnded for facts that already name the client.
func (e *Endpoint) checkFacts(f revocation.Facts) error {
	if reason := e.Ended.Check(f); reason != revocation.None {
		return &oauth.Error{Code: oauth.InvalidGrant, Description: "the grant has been revoked", Reason: reason}
	}
	return nil
}

// checkChallenge refuses a refresh after the client was asked for more scopes, if the
// operator wants it. A refresh cannot bring more scopes, and some clients sign in again
// only after invalid_grant. The refresh token stays good.
func (e *Endpoint) checkChallenge(r *refreshing) error {
	res, ok := r.host.ForSignIn(r.token.Resource)
	if !ok || !res.Rules.RefuseRefresh {
		return nil
	}
	challenged, err := guard.Challenged(r.Context(), e.Guard, r.token.Family)
	if err != nil {
		return refreshUnavailable(err)
	}
	if challenged {
		return &oauth.Error{Code: oauth.InvalidGrant, Description: "the access token lacked a scope that no refresh gives; authorize again", Reason: reasons.StepUpExpected}
	}
	return nil
}

// checkPolicy leaves out scopes that the rules do not allow the person. The refresh token
// keeps them, in case the person may have them again.
func (e *Endpoint) checkPolicy(r *refreshing) error {
	left := r.match.Narrow(r.scopes)
	if len(left) == 0 { // the exchange was made for another request, with other scopes
		return scopesNotAllowed(r)
	}
	if len(left) < len(r.scopes) {
		narrowed := r.entry
		narrowed.Event, narrowed.Reason = audit.PolicyNarrowed, reasons.NarrowedByPolicy
		narrowed.Withheld = slices.DeleteFunc(slices.Clone(r.scopes), left.Contains).String()
		e.Audit.Write(r.Context(), narrowed)
	}
	r.scopes = left
	return nil
}

func scopesNotAllowed(r *refreshing) *oauth.Error {
	r.entry.Withheld = r.scopes.String()
	return &oauth.Error{Code: oauth.InvalidScope, Description: "the rules of this service do not allow the requested scopes any more", Reason: reasons.NotAllowedByPolicy}
}

// invalidRefresh refuses a refresh token. The client gets the same answer whatever is
// wrong.
func invalidRefresh(reason reasons.Reason, cause error) *oauth.Error {
	return &oauth.Error{Code: oauth.InvalidGrant, Description: "the refresh token is not valid", Reason: reason, Cause: cause}
}

func refreshUnavailable(cause error) error {
	return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "refresh tokens cannot be used right now", Reason: reasons.GuardUnavailable, Cause: cause}
}

// endFamily revokes every token of a sign-in. If that fails, the audit entry says so; the
// caller refuses the request in any case.
func (e *Endpoint) endFamily(c *call, t refreshToken, reason reasons.Reason) {
	entry := c.entry
	entry.Event, entry.Reason = audit.FamilyEnded, reason
	entry.Cause = e.Ended.RevokeFamily(t.Family, e.familyDies(t.AuthTime))
	e.drop(t.Family)
	e.Audit.Write(c.Context(), entry)
}

// familyDies returns when the last token of a family that ends now would expire by
// itself. No new token is made, so the longest-lived one is one that is made now.
func (e *Endpoint) familyDies(authTime int64) time.Time {
	now := e.Tokens.Now()
	access := now.Add(e.longestLifetime())
	if e.Refresh == nil {
		return access
	}
	if refresh := e.Refresh.expires(refreshToken{AuthTime: authTime}, now); refresh.After(access) {
		return refresh
	}
	return access
}
