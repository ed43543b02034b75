package grant

import (
	"context"
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

// refreshToken is what a refresh token stands for. The issuer is associated data.
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
	Session    connector.Session `json:"session,omitzero"`
	// InGroups: the person was in some when they signed in, or may have been.
	InGroups bool `json:"in_groups,omitempty"`
}

// noRefreshToken is the audit reason of an access token that came without a
// refresh token because there is nothing to ask the identity provider with later.
const noRefreshToken = "no_refresh_token"

// RefreshRepeated is the audit reason of a refresh that got the answer of another.
const RefreshRepeated = "refresh_token_repeated"

// refreshAnswer is what one exchange came to, as the guard keeps it for those
// who ask for the same exchange again.
type refreshAnswer struct {
	Token    string             `json:"token"`
	Identity connector.Identity `json:"identity"`
}

// person is who the token was issued for; the token knows no more of them.
func (t *refreshToken) person() connector.Identity {
	return connector.Identity{Namespace: t.Namespace, Subject: t.Subject}
}

// first returns the refresh token that comes with a redeemed code, "" if the
// client is to have none: those that registered the grant get one whether or
// not they asked for offline_access, the others if they asked. Of a client that
// the operator configured the operator has said which grants it may use.
func (r *Refresh) first(c *call, a authcode.Authorization) (string, error) {
	if r == nil || !c.client.MayUse("refresh_token") && (!a.Offline || c.client.PreRegistered) {
		return "", nil
	}
	if p := r.Providers.Find(a.Identity.Provider); p == nil || !p.MayRecheck(a.Session) {
		c.entry.Reason = noRefreshToken // one that is refused at its first use is of no use
		return "", nil
	}
	return r.seal(c, refreshToken{
		Family: a.ID, AuthTime: a.AuthTime, Flow: a.Flow, ClientKey: a.ClientKey,
		Provider: a.Identity.Provider, Namespace: a.Identity.Namespace, Subject: a.Identity.Subject,
		Resource: a.Resource, Scopes: a.Scopes, Catalogue: a.Catalogue, Session: a.Session, InGroups: len(a.Identity.Groups) > 0 || a.Identity.Unknown.Groups,
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

// refresh is the refresh_token grant (RFC 6749, section 6; OAuth 2.1, section
// 4.3). Everything is checked before the token is exchanged, so that a request
// with a mistake, or one at a bad time, costs the client nothing.
func (e *Endpoint) refresh(c *call) (*Response, error) {
	c.entry.Event = audit.TokenRefreshed
	if c.client.PreRegistered && !c.client.MayUse("refresh_token") {
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "this client may not use refresh tokens")
	}
	t, err := e.openRefresh(c)
	if err != nil {
		return nil, err
	}
	if err := checkResource(c, t.Resource); err != nil {
		return nil, err
	}
	scopes, err := narrow(c.params.Get("scope"), c.client.Narrow(t.Scopes), func(scope string) bool { return e.Refresh.Exists(t.Resource, scope) })
	if err != nil {
		return nil, err
	}
	if scopes, err = checkClientLimits(c, t, scopes); err != nil {
		return nil, err
	}
	if scopes, err = e.unchanged(t, scopes); err != nil {
		return nil, err
	}
	if scopes = e.Policy.For(t.Resource).MatchClient(policyClient(c)).Narrow(scopes); len(scopes) == 0 {
		return nil, invalidRefresh(policy.ClientNotAllowed, nil)
	}
	if err := e.checkEnded(c, revocation.Facts{Family: t.Family, Subject: t.person().FullSubject()}); err != nil {
		return nil, err
	}
	if err := e.checkChallenge(c, t); err != nil {
		return nil, err
	}
	if err := c.spendProof(); err != nil {
		return nil, err
	}
	answer, err := e.exchange(c, t, scopes)
	if err != nil {
		return nil, err
	}
	c.entry.Email = answer.Identity.Email
	if err := e.checkEnded(c, revocation.Facts{Email: answer.Identity.Email, EmailUnknown: answer.Identity.Unknown.Email}); err != nil {
		return nil, err
	}
	match := e.Policy.For(t.Resource).Rematch(answer.Identity, t.InGroups, policyClient(c))
	if scopes, err = e.stillAllowed(c, match, scopes); err != nil {
		return nil, err
	}
	c.entry.Scope = scopes.String()
	resp, err := e.mint(c, grantee{Flow: t.Flow, Family: t.Family, Resource: t.Resource, Scopes: scopes, Identity: answer.Identity, Policy: match.String(), Generation: t.Generation + 1})
	if err != nil {
		return nil, err
	}
	resp.RefreshToken = answer.Token
	return resp, nil
}

func policyClient(c *call) policy.Client {
	return policy.Client{Key: c.client.Key(), Kind: c.client.Kind(), Host: c.client.VouchedBy}
}

// stillAllowed returns what the rules leave of scopes, now that the person
// is known again. The refresh token keeps the rest, for the day when they
// may have it again.
func (e *Endpoint) stillAllowed(c *call, match policy.Match, scopes oauth.Scopes) (oauth.Scopes, error) {
	left := match.Narrow(scopes)
	if len(left) == 0 { // another request for other scopes made the exchange
		return nil, scopesNotAllowed(c, scopes)
	}
	if len(left) < len(scopes) {
		narrowed := c.entry
		narrowed.Event, narrowed.Reason = audit.PolicyNarrowed, policy.Narrowed
		narrowed.Withheld = slices.DeleteFunc(slices.Clone(scopes), left.Contains).String()
		e.Audit.Write(c.Context(), narrowed)
	}
	return left, nil
}

func scopesNotAllowed(c *call, scopes oauth.Scopes) *oauth.Error {
	c.entry.Withheld = scopes.String()
	return &oauth.Error{Code: oauth.InvalidScope, Description: "the rules of this service do not allow the requested scopes any more", Reason: policy.NotAllowed}
}

// checkClientLimits: the operator may have limited the client since it got the token.
func checkClientLimits(c *call, t refreshToken, scopes oauth.Scopes) (oauth.Scopes, error) {
	may := c.client.MayUse("refresh_token") || !c.client.PreRegistered
	scopes = c.client.Narrow(scopes)
	if !may || !c.client.MayReach(t.Resource) || len(scopes) == 0 {
		return nil, invalidRefresh("client_limited", nil)
	}
	return scopes, nil
}

// invalidRefresh looks the same whatever was wrong with the token.
func invalidRefresh(reason string, cause error) *oauth.Error {
	return &oauth.Error{Code: oauth.InvalidGrant, Description: "the refresh token is not valid", Reason: reason, Cause: cause}
}

func (e *Endpoint) openRefresh(c *call) (refreshToken, error) {
	raw := c.params.Get("refresh_token")
	if raw == "" {
		return refreshToken{}, oauth.Errorf(oauth.InvalidRequest, "refresh_token is missing")
	}
	t, err := e.Refresh.tokens.Open(raw, c.host.Issuer)
	if err != nil {
		return t, invalidRefresh("invalid_refresh_token", err)
	}
	c.entry.Flow, c.entry.Family, c.entry.Resource, c.entry.Subject = t.Flow, t.Family, t.Resource, t.person().FullSubject()
	if t.ClientKey != c.client.Key() {
		return t, invalidRefresh("refresh_token_of_another_client", nil)
	}
	// The operator may have shortened the lifetime since the token was made.
	if !e.Refresh.Now().Before(time.Unix(t.AuthTime, 0).Add(e.Refresh.Absolute)) {
		return t, invalidRefresh("invalid_refresh_token", seal.ErrExpired)
	}
	// Before anything is asked or spent: the operator may put it back.
	if e.Refresh.Providers.Find(t.Provider) == nil {
		return t, invalidRefresh("provider_removed", nil)
	}
	if res, ok := c.host.Requested(t.Resource); !ok || res.URI != t.Resource || !c.client.MayReach(t.Resource) {
		return t, invalidRefresh("resource_gone", nil)
	}
	return t, nil
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
		return nil, &oauth.Error{Code: oauth.InvalidScope, Description: "scope goes beyond what was granted", Reason: "scope_not_granted"}
	}
	return scopes, nil
}

// unchanged leaves out scopes that now open other tools than the user agreed to:
// the client that needs one asks for it, and the user sees the new list. The
// refresh token keeps them, so that a tool that was there only for a while costs
// nothing for good.
func (e *Endpoint) unchanged(t refreshToken, scopes oauth.Scopes) (oauth.Scopes, error) {
	for _, name := range e.Refresh.Changed(t.Resource, t.Scopes, t.Catalogue) {
		scopes = scopes.Without(name)
	}
	if len(scopes) == 0 {
		return nil, invalidRefresh("scopes_changed", nil)
	}
	return scopes, nil
}

// checkEnded refuses what was revoked or is denied. What the operator denies
// stays as it is, so that lifting the denial is enough.
func (e *Endpoint) checkEnded(c *call, f revocation.Facts) error {
	f.Client = revocation.Client(c.client.ID)
	if reason := e.Ended.Check(f); reason != revocation.None {
		return &oauth.Error{Code: oauth.InvalidGrant, Description: "the grant has been revoked", Reason: string(reason)}
	}
	return nil
}

// checkChallenge refuses a refresh that follows a request for more scopes, where
// the operator wants that: no refresh brings them, and some clients sign in again
// only after invalid_grant. The refresh token stays good.
func (e *Endpoint) checkChallenge(c *call, t refreshToken) error {
	res, ok := c.host.Requested(t.Resource)
	if !ok || !res.Rules.RefuseRefresh {
		return nil
	}
	challenged, err := guard.Challenged(c.Context(), e.Guard, t.Family)
	if err != nil {
		return refreshUnavailable(err)
	}
	if challenged {
		return &oauth.Error{Code: oauth.InvalidGrant, Description: "the access token lacked a scope that no refresh gives; authorize again", Reason: "step_up_expected"}
	}
	return nil
}

func refreshUnavailable(cause error) error {
	return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "refresh tokens cannot be used right now", Reason: "guard_unavailable", Cause: cause}
}

// exchange spends t, for a new access token with some of scopes. However often it is asked within the grace period, the
// identity provider is asked once and the answer is the same. The entry of a
// request that got the answer of another says so.
func (e *Endpoint) exchange(c *call, t refreshToken, scopes oauth.Scopes) (refreshAnswer, error) {
	r := e.Refresh
	rotation := guard.Rotation{
		Family: t.Family, Generation: t.Generation, Issued: time.Unix(t.Issued, 0), Arrived: c.arrived, Grace: Grace,
		Expires: r.expires(t, r.Now()),
		Resume: func(kept string) {
			if session, err := r.sessions.Open(kept, t.Family); err == nil {
				t.Session = session
			}
		},
	}
	repeated := true
	sealed, err := e.Guard.Rotate(c.Context(), rotation, func(ctx context.Context) (string, error) {
		repeated = false
		return e.successor(ctx, c, t, scopes)
	})
	switch {
	case errors.Is(err, guard.ErrReused):
		e.endFamily(c, t, "refresh_token_reused")
		return refreshAnswer{}, invalidRefresh("refresh_token_reused", nil)
	case errors.Is(err, guard.ErrUnavailable):
		return refreshAnswer{}, refreshUnavailable(err)
	case err != nil:
		return refreshAnswer{}, err
	}
	if repeated {
		c.entry.Reason = RefreshRepeated
	}
	return r.answers.Open(sealed, t.Family)
}

// successor asks who the person is now and seals the next generation for them.
func (e *Endpoint) successor(ctx context.Context, c *call, t refreshToken, scopes oauth.Scopes) (string, error) {
	r := e.Refresh
	vouching := r.Providers.Find(t.Provider) // openRefresh has found it
	identity, session, err := vouching.Recheck(ctx, t.person(), t.Session)
	switch {
	case errors.Is(err, connector.ErrGone):
		e.endFamily(c, t, "user_gone")
		return "", invalidRefresh("user_gone", err)
	case errors.Is(err, connector.ErrNotAllowed):
		e.endFamily(c, t, "account_not_allowed")
		return "", invalidRefresh("account_not_allowed", err)
	case errors.Is(err, connector.ErrSessionOver):
		return "", invalidRefresh("provider_session_over", err)
	case errors.Is(err, connector.ErrMisconfigured):
		return "", r.unfinished(t, session, &oauth.Error{
			Code: oauth.ServerError, Description: "the identity provider cannot be used until this service's operator has changed something", Reason: "provider_misconfigured", Cause: err,
		})
	case err != nil:
		return "", r.unfinished(t, session, &oauth.Error{
			Code: oauth.TemporarilyUnavailable, Description: "the identity provider does not answer", Reason: "provider_unavailable", Cause: err,
		})
	}
	if identity.Namespace != t.Namespace || identity.Subject != t.Subject {
		return "", errors.New("internal error: the re-check returned another person")
	}
	if err := vouching.Gate.Admit(identity); err != nil {
		e.endFamily(c, t, err.Error())
		return "", invalidRefresh(err.Error(), nil)
	}
	match := e.Policy.For(t.Resource).Rematch(identity, t.InGroups, policyClient(c))
	if len(match.Narrow(t.Scopes)) == 0 {
		e.endFamily(c, t, policy.NotAllowed)
		return "", invalidRefresh(policy.NotAllowed, nil)
	}
	if len(match.Narrow(scopes)) == 0 { // the client gets nothing, so it goes on with the token it has
		return "", r.unfinished(t, session, scopesNotAllowed(c, scopes))
	}
	// The session may have been exchanged at the provider, so from here on the
	// family has to go on with the new one: a denial by e-mail is left to the
	// check of what is minted.
	if session.Size() > authcode.MaxSession {
		session = connector.Session{}
		c.entry.Cause = errors.New("the identity provider's tokens are too large and were dropped; the next refresh will be refused")
	}
	t.Generation++
	t.Session = session
	next, err := r.seal(c, t)
	if err != nil {
		return "", err
	}
	return r.answers.Seal(refreshAnswer{Token: next, Identity: identity}, r.Now().Add(Grace+time.Minute), t.Family)
}

// unfinished is failure, with the session that t's was exchanged for at the
// provider before it. The client goes on with the token it has, whose session is
// spent: without this its next try would look like a thief's to the provider.
func (r *Refresh) unfinished(t refreshToken, session connector.Session, failure error) error {
	if session == (connector.Session{}) || session.Size() > authcode.MaxSession {
		return failure
	}
	sealed, err := r.sessions.Seal(session, r.expires(t, r.Now()), t.Family)
	if err != nil {
		return failure
	}
	return &guard.Unfinished{Keep: sealed, Err: failure}
}

// endFamily revokes everything that came of a sign-in. That the list is full
// changes nothing for the caller, who refuses anyway; the entry says it.
func (e *Endpoint) endFamily(c *call, t refreshToken, reason string) {
	entry := c.entry
	entry.Event, entry.Reason = audit.FamilyEnded, reason
	entry.Cause = e.Ended.RevokeFamily(t.Family, e.familyDies(t.AuthTime))
	e.Audit.Write(c.Context(), entry)
}

// familyDies returns when the last token of a family that is ended now would
// have died by itself: no new one is made, so none is idle for longer.
func (e *Endpoint) familyDies(authTime int64) time.Time {
	now := e.Tokens.Now()
	access := now.Add(e.Tokens.Lifetime)
	if e.Refresh == nil {
		return access
	}
	if refresh := e.Refresh.expires(refreshToken{AuthTime: authTime}, now); refresh.After(access) {
		return refresh
	}
	return access
}
