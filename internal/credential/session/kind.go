package session

import (
	"errors"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// ClientID is what rules, the audit log and the deny-list call the browser.
const ClientID = "browser"

// Client is the browser as the rules know it.
func Client() policy.Client {
	return policy.Client{Key: oauth.ClientKey(ClientID), Kind: rule.KindBrowser}
}

// Kind verifies the cookies. It implements credential.Kind.
type Kind struct {
	Sessions *Sessions
	Policy   *policy.Policy
}

// Recognises reports whether r is a page: there the cookie is all that is looked
// at, and elsewhere it never is.
func (Kind) Recognises(_ string, r *resource.Resource) bool { return r.Page != nil }

// Verify returns the person of a cookie at a page.
func (k Kind) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	if r.Page == nil {
		return credential.Principal{}, credential.Refused{Reason: reasons.MalformedToken}
	}
	v, err := k.Sessions.Open(raw, r.Host)
	switch {
	case errors.Is(err, seal.ErrExpired):
		return credential.Principal{}, credential.Refused{Reason: reasons.SessionExpired}
	case err != nil:
		return credential.Principal{}, credential.Refused{Reason: reasons.SessionInvalid}
	}
	id := v.Identity
	return credential.Principal{
		Issuer: r.Host.Issuer, Audience: r.URI, Subject: id.FullSubject(), Client: ClientID, Scope: r.Page.Scope,
		Email: id.Email, EmailUnknown: id.Unknown.Email, Name: id.Name, Groups: id.Groups, GroupsCut: id.Unknown.Groups,
		Policy: k.Policy.For(r.Server().URI).Rematch(id, v.InGroups, Client()).String(),
		ID:     v.ID, Family: v.ID, Flow: v.Flow, Generation: v.Generation,
		IssuedAt: v.Made, SignedIn: v.AuthTime, Expires: k.Sessions.Expires(&v), Renew: k.Sessions.Renew(&v), AtProvider: v.AtProvider,
	}, nil
}
