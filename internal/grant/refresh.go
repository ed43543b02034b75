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

// Grace is how long at most the refresh token before the newest one still gets
// the same answer: a response may be lost, and several processes of one client
// may share a token and refresh at the same time. It ends with the first use of
// what the answer held, see guard.Guard, so that a stolen token that is used
// after its owner's is noticed (OAuth 2.1, section 4.3.1; RFC 9700, section
// 4.14.2).
const Grace = 20 * time.Second

// Refresh makes and honours refresh tokens. A token is a sealed value, one
// generation of a family; the family is the sign-in that it all began with.
type Refresh struct {
	// Providers are asked again at each use, each about its own people, and their
	// policy of the sign-in is applied again.
	Providers provider.Set
	// Changed returns the scopes of a resource whose set of tools differs from
	// fingerprints. It does no I/O.
	Changed func(resource string, scopes []string, fingerprints string) []string
	// Agree returns what a person agrees to who grants the scopes of a resource now, see
	// catalog.Agree. It does no I/O.
	Agree func(resource string, scopes []string) string
	// Exists reports whether a resource has a scope, or may have it because what
	// it has is not known. It does no I/O.
	Exists func(resource, scope string) bool
	// Idle is how long a token lives unused, Absolute how long after the
	// sign-in its family does.
	Idle, Absolute time.Duration
	Now            func() time.Time

	tokens   seal.Box[refreshToken]
	answers  seal.Box[refreshAnswer]
	sessions seal.Box[connector.Session]
}

// NewRefresh returns r with the boxes of keys.
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
	// InGroups: the person was in some when they signed in, or may have been.
	InGroups bool `json:"in_groups,omitempty"`
	// Key is the thumbprint of the key that the client must prove, "" for none.
	Key string `json:"jkt,omitempty"`
	// Held: the session is kept here, for the MCP server's token.
	Held bool `json:"held,omitempty"`
}

// refreshAnswer is the result of one exchange. The guard keeps it for repeats of the
// same exchange.
type refreshAnswer struct {
	Token    string             `json:"token"`
	Identity connector.Identity `json:"identity"`
	// Provider is the identity provider's token for the access token.
	Provider providertoken.Token `json:"idp,omitzero"`
}

// person is who the token was issued for; the token knows no more of them.
func (t *refreshToken) person() connector.Identity {
	return connector.Identity{Namespace: t.Namespace, Subject: t.Subject}
}

// first returns the refresh token that comes with a redeemed code, "" if the client
// gets none. A client that registered the grant gets one whether or not it asked for
// offline_access; others get one if they asked. For a client that the operator
// configured, its grants decide. Key is that of the access token.
func (r *Refresh) first(c *call, a authcode.Authorization, key string) (string, error) {
	if r == nil || !c.client.MayUse("refresh_token") && (!a.Offline || c.client.PreRegistered) {
		return "", nil
	}
	if p := r.Providers.Find(a.Identity.Provider); p == nil || !p.MayRecheck(a.Session) {
		c.entry.Reason = reasons.NoRefreshToken // one that is refused at its first use is of no use
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

// expires returns when a token of t's family made now is dead.
func (r *Refresh) expires(t refreshToken, now time.Time) time.Time {
	idle, end := now.Add(r.Idle), time.Unix(t.AuthTime, 0).Add(r.Absolute)
	if end.Before(idle) {
		return end
	}
	return idle
}

// refreshing is the state of one refresh request while it passes the checks.
type refreshing struct {
	*call
	token  refreshToken
	scopes oauth.Scopes // what the access token is to have, after the checks so far
	// identity is who the person is now, and match the rules for them: both are
	// known after the exchange.
	identity connector.Identity
	match    policy.Match
	// key is the thumbprint of the key that the access token is bound to, "" for none.
	key      string
	supplied supplied // the identity provider's token
}

type refreshCheck func(*refreshing) error

// refreshChecks lists the checks before the exchange, in order; the first that
// fails decides. None of them asks or spends anything, but for the last, so that
// a request with a mistake, or one at a bad time, costs the client nothing.
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

// mayRefresh refuses a configured client whose entry does not have the grant.
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
			r.note(late)
		}
		return invalidRefresh(reasons.RefreshTokenExpired, nil)
	}
	if err != nil {
		return invalidRefresh(reasons.InvalidRefreshToken, err)
	}
	r.token = t
	r.note(t)
	return nil
}

// note writes down whose refresh token it is.
func (r *refreshing) note(t refreshToken) {
	r.entry.Flow, r.entry.Family, r.entry.Resource, r.entry.Subject = t.Flow, t.Family, t.Resource, t.person().FullSubject()
}

func ownRefresh(r *refreshing) error {
	if r.token.ClientKey != r.client.Key() {
		return invalidRefresh(reasons.RefreshTokenOfAnotherClient, nil)
	}
	return nil
}

// notTooOld: the operator may have shortened the lifetime since the token was made.
func (e *Endpoint) notTooOld(r *refreshing) error {
	if !e.Refresh.Now().Before(time.Unix(r.token.AuthTime, 0).Add(e.Refresh.Absolute)) {
		return invalidRefresh(reasons.RefreshTokenExpired, nil)
	}
	return nil
}

// findProvider: the operator may have removed the provider, and may put it back.
func (e *Endpoint) findProvider(r *refreshing) error {
	if e.Refresh.Providers.Find(r.token.Provider) == nil {
		return invalidRefresh(reasons.ProviderRemoved, nil)
	}
	return nil
}

// findResource: the operator may have removed the resource, or closed it to the client.
func findResource(r *refreshing) error {
	uri := r.token.Resource
	if res, ok := r.host.ForSignIn(uri); !ok || res.URI != uri || !r.client.MayReach(uri) {
		return invalidRefresh(reasons.ResourceGone, nil)
	}
	return nil
}

// checkKey: a refresh token that is bound to a key is worth nothing without it.
func checkKey(r *refreshing) error {
	key, err := r.bindTo(r.token.Resource, r.token.Key)
	r.key = key
	return err
}

// selectScopes selects what the client asks for of what it still may have.
func (e *Endpoint) selectScopes(r *refreshing) (err error) {
	r.scopes, err = narrow(r.params.Get("scope"), r.client.Narrow(r.token.Scopes), func(scope string) bool { return e.Refresh.Exists(r.token.Resource, scope) })
	return err
}

// narrow returns what the access token may do: what is asked, if all of it was
// granted, else everything (RFC 6749, section 6). Clients repeat the words of
// their first request, so what the resource does not have is dropped here as it
// was there.
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

// dropChangedScopes leaves out scopes that now open other tools than the user
// agreed to: the client that needs one asks for it, and the user sees the new
// list. The refresh token keeps them, so that a tool that was there only for a
// while has no lasting effect. Where such tools are held back one by one, all scopes
// stay. People who agreed before that setting was on count as agreeing to the tools of now.
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

// checkEnded refuses what was revoked or is denied. What the operator denies
// stays as it is, so that lifting the denial is enough.
func (e *Endpoint) checkEnded(c *call, f revocation.Facts) error {
	f.Client = revocation.Client(c.client.ID)
	return e.checkFacts(f)
}

func (e *Endpoint) checkFacts(f revocation.Facts) error {
	if reason := e.Ended.Check(f); reason != revocation.None {
		return &oauth.Error{Code: oauth.InvalidGrant, Description: "the grant has been revoked", Reason: reason}
	}
	return nil
}

// checkChallenge refuses a refresh that follows a request for more scopes, where
// the operator wants that: no refresh brings them, and some clients sign in again
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

// checkPolicy leaves out scopes that the rules do not allow the person. The
// refresh token keeps them, in case the person may have them again.
func (e *Endpoint) checkPolicy(r *refreshing) error {
	left := r.match.Narrow(r.scopes)
	if len(left) == 0 { // another request for other scopes made the exchange
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

// invalidRefresh looks the same whatever was wrong with the token.
func invalidRefresh(reason reasons.Reason, cause error) *oauth.Error {
	return &oauth.Error{Code: oauth.InvalidGrant, Description: "the refresh token is not valid", Reason: reason, Cause: cause}
}

func refreshUnavailable(cause error) error {
	return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "refresh tokens cannot be used right now", Reason: reasons.GuardUnavailable, Cause: cause}
}

// endFamily revokes every token of a sign-in. If the list of revocations is full, the
// caller refuses anyway, and the audit entry says so.
func (e *Endpoint) endFamily(c *call, t refreshToken, reason reasons.Reason) {
	entry := c.entry
	entry.Event, entry.Reason = audit.FamilyEnded, reason
	entry.Cause = e.Ended.RevokeFamily(t.Family, e.familyDies(t.AuthTime))
	e.drop(t.Family)
	e.Audit.Write(c.Context(), entry)
}

// familyDies returns when the last token of a family that is ended now would
// have died by itself: no new one is made, so none is idle for longer.
func (e *Endpoint) familyDies(authTime int64) time.Time {
	now := e.Tokens.Now()
	access := now.Add(e.longest())
	if e.Refresh == nil {
		return access
	}
	if refresh := e.Refresh.expires(refreshToken{AuthTime: authTime}, now); refresh.After(access) {
		return refresh
	}
	return access
}
