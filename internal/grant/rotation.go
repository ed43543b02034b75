package grant

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authcode"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// exchange spends the refresh token and returns the next one. However often that is asked
// within the grace period, the identity provider is asked once and the answer is the
// same. The audit entry says if a request got the answer of another.
func (e *Endpoint) exchange(r *refreshing) (string, error) {
	t := &r.token
	rotation := guard.Rotation{
		Family: t.Family, Generation: t.Generation, Issued: time.Unix(t.Issued, 0), Arrived: r.arrived, Grace: Grace,
		Expires: e.Refresh.expires(*t, e.Refresh.Now()),
		Resume: func(kept string) {
			if session, err := e.Refresh.sessions.Open(kept, t.Family); err == nil {
				t.Session = session
			}
		},
	}
	repeated := true
	sealed, err := e.Guard.Rotate(r.Context(), rotation, func(ctx context.Context, keep func(string)) (string, error) {
		repeated = false
		ctx = connector.OnExchange(ctx, func(s connector.Session) {
			if sealed, ok := e.Refresh.kept(*t, s.Lean()); ok {
				keep(sealed)
			}
		})
		return e.successor(ctx, r)
	})
	switch {
	case errors.Is(err, guard.ErrReused):
		return "", e.end(r, reasons.RefreshTokenReused, nil)
	case errors.Is(err, guard.ErrUnavailable):
		return "", refreshUnavailable(err)
	case err != nil:
		return "", err
	}
	answer, err := e.Refresh.answers.Open(sealed, t.Family)
	if err != nil {
		return "", err
	}
	if repeated {
		r.entry.Reason = reasons.RefreshTokenRepeated
		e.matchPerson(r, answer.Identity)
	}
	if t := provides(r.host, t.Resource, t.Provider); t != nil {
		r.supplied = supplied{answer.Provider, t}
	}
	return answer.Token, nil
}

// matchPerson notes who the person is now, and which rules match them.
func (e *Endpoint) matchPerson(r *refreshing, id connector.Identity) {
	r.identity, r.match = id, e.Policy.For(r.token.Resource).Rematch(id, r.token.InGroups, policyClient(r.call))
}

// successor asks the provider who the person is now, and seals the next generation.
func (e *Endpoint) successor(ctx context.Context, r *refreshing) (string, error) {
	identity, session, err := e.recheck(ctx, r)
	if err != nil {
		return "", err
	}
	e.matchPerson(r, identity)
	if len(r.match.Narrow(r.token.Scopes)) == 0 {
		return "", e.end(r, reasons.NotAllowedByPolicy, nil)
	}
	if len(r.match.Narrow(r.scopes)) == 0 { // the client gets nothing, so it goes on with the token it has
		return "", e.Refresh.unfinished(r.token, session, scopesNotAllowed(r))
	}
	// The session may have been exchanged at the provider, so from here on the family must go on
	// with the new one. A denial by e-mail is therefore left to identityChecks.
	var got supplied
	t := provides(r.host, r.token.Resource, r.token.Provider)
	switch {
	case t != nil && t.Held && !r.token.Held: // the operator has changed providerToken.form
		return "", e.Refresh.unfinished(r.token, session.Lean(), notSupplied(providertoken.ErrMissing, true))
	case t != nil && !t.Held:
		if got, err = obtain(ctx, e.Refresh.Providers.Find(r.token.Provider), t, session, e.Refresh.Now()); err != nil {
			return "", e.Refresh.unfinished(r.token, session.Lean(), notSupplied(err, true))
		}
	}
	session = session.Lean()
	if session.Size() > authcode.MaxSession {
		session = connector.Session{}
		r.entry.Cause = errors.New("the identity provider's tokens are too large and were dropped; the next refresh will be refused")
	}
	next := r.token
	next.Generation++
	next.Session = session
	next.Key = r.refreshKey(r.key)
	sealed, err := e.Refresh.seal(r.call, next)
	if err != nil {
		return "", err
	}
	return e.Refresh.answers.Seal(refreshAnswer{Token: sealed, Identity: identity, Provider: got.Token}, e.Refresh.Now().Add(Grace+time.Minute), next.Family)
}

// recheck asks the identity provider about the person.
func (e *Endpoint) recheck(ctx context.Context, r *refreshing) (connector.Identity, connector.Session, error) {
	vouching, t := e.Refresh.Providers.Find(r.token.Provider), &r.token // findProvider has found it
	identity, session, err := e.ask(ctx, vouching, t)
	switch {
	case errors.Is(err, connector.ErrGone):
		err = e.end(r, reasons.UserGone, err)
	case errors.Is(err, connector.ErrNotAllowed):
		err = e.end(r, reasons.AccountNotAllowed, err)
	case errors.Is(err, connector.ErrSessionOver):
		err = invalidRefresh(reasons.ProviderSessionOver, err)
	case errors.Is(err, connector.ErrMisconfigured):
		err = e.Refresh.unfinished(*t, session, &oauth.Error{
			Code: oauth.ServerError, Description: "the identity provider cannot be used until this service's operator has changed something", Reason: reasons.ProviderMisconfigured, Cause: err,
		})
	case err != nil:
		err = e.Refresh.unfinished(*t, session, &oauth.Error{
			Code: oauth.TemporarilyUnavailable, Description: "the identity provider does not answer", Reason: reasons.ProviderUnavailable, Cause: err,
		})
	case identity.Namespace != t.Namespace || identity.Subject != t.Subject:
		err = errors.New("internal error: the re-check returned another person")
	default:
		if denied := vouching.Gate.Admit(identity); denied != nil {
			err = e.end(r, policy.ReasonOf(denied), nil)
		}
	}
	return identity, session, err
}

// ask has the provider say who the person is now. If the session is held, an answer of
// the last minute will do.
func (e *Endpoint) ask(ctx context.Context, vouching *provider.Provider, t *refreshToken) (connector.Identity, connector.Session, error) {
	if !t.Held {
		return vouching.Recheck(ctx, t.person(), t.Session)
	}
	if e.Held == nil {
		return connector.Identity{}, connector.Session{}, connector.ErrSessionOver
	}
	id, err := e.Held.Person(ctx, t.Family)
	return id, connector.Session{}, err
}

// end revokes the family and returns the refusal that says why.
func (e *Endpoint) end(r *refreshing, reason reasons.Reason, cause error) error {
	e.endFamily(r.call, r.token, reason)
	return invalidRefresh(reason, cause)
}

// unfinished returns failure, with the session that the provider gave before it, if any,
// for the guard to keep. The client goes on with the refresh token that it has, whose
// session is spent: without the new session, the provider would take the client's next
// try for theft.
func (r *Refresh) unfinished(t refreshToken, session connector.Session, failure error) error {
	sealed, ok := r.kept(t, session)
	if !ok {
		return failure
	}
	return &guard.Unfinished{Keep: sealed, Err: failure}
}

// kept returns a session as the guard keeps it for the next try of the exchange. ok is
// false if there is none, or if it is too large.
func (r *Refresh) kept(t refreshToken, session connector.Session) (sealed string, ok bool) {
	if session.IsZero() || session.Size() > authcode.MaxSession {
		return "", false
	}
	sealed, err := r.sessions.Seal(session, r.expires(t, r.Now()), t.Family)
	return sealed, err == nil
}
