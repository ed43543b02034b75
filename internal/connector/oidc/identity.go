package oidc

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// identity reads the claims; what the ID token lacks comes from userinfo.
func (c *Connector) identity(ctx context.Context, p *provider, token *oauth2.Token, subject string, claims Claims) (connector.Identity, error) {
	if upstream.Subject(subject) == "" {
		return connector.Identity{}, upstream.Rejected("subject is empty or malformed", nil)
	}
	more := Claims{}
	if p.UserInfoEndpoint != "" && c.incomplete(claims) {
		var err error
		if more, err = c.userInfo(ctx, p, token, subject, claims); err != nil {
			return connector.Identity{}, fmt.Errorf("userinfo: %w", err)
		}
	}
	if c.options.Admit != nil {
		source := claims
		if len(source) == 0 { // a refresh without an ID token
			source = more
		}
		if err := c.options.Admit(source); err != nil {
			return connector.Identity{}, err
		}
	}
	id := connector.Identity{Namespace: c.options.Namespace, Subject: subject}
	for _, source := range []Claims{claims, more} {
		if id.Email == "" {
			id.Email = c.email(source)
		}
		if id.Name == "" {
			id.Name = upstream.Name(source.String(c.options.NameClaim))
		}
		if id.Groups == nil && c.options.GroupsClaim != "" {
			id.Groups = upstream.Groups(source.Strings(c.options.GroupsClaim), c.options.GroupsFilter)
		}
	}
	if c.options.Groups != nil {
		groups, err := c.options.Groups(ctx, c.client, Person{subject, claims}, token.AccessToken)
		if err != nil {
			return connector.Identity{}, fmt.Errorf("groups: %w", err)
		}
		id.Groups = upstream.Groups(groups, c.options.GroupsFilter)
	}
	return id, nil
}

// email returns an address only with its own source's word that it is verified.
func (c *Connector) email(claims Claims) string {
	email := upstream.Email(claims.String(c.options.EmailClaim))
	if email == "" || !c.options.TrustEmail(email, claims) {
		return ""
	}
	return email
}

// Verified is the provider's word about an address (OpenID Connect Core, section 5.1).
func Verified(_ string, claims Claims) bool { return claims.IsTrue("email_verified") }

// incomplete reports whether a claim is missing that was asked for, by scope or
// by name.
func (c *Connector) incomplete(claims Claims) bool {
	o := c.options
	switch {
	case (slices.Contains(o.Scopes, "email") || o.EmailClaim != "email") && (!claims.Has(o.EmailClaim) || o.EmailVerifiedClaim != "" && !claims.Has(o.EmailVerifiedClaim)):
		return true
	case (slices.Contains(o.Scopes, "profile") || o.NameClaim != "name") && !claims.Has(o.NameClaim):
		return true
	}
	return o.GroupsClaim != "" && !claims.Has(o.GroupsClaim)
}

// userInfo asks about the person of an ID token's claims or, without those, about subject.
func (c *Connector) userInfo(ctx context.Context, p *provider, token *oauth2.Token, subject string, idToken Claims) (Claims, error) {
	header := http.Header{"Authorization": {"Bearer " + token.AccessToken}}
	var claims Claims
	if _, err := c.client.Get(ctx, p.UserInfoEndpoint, header, &claims); err != nil {
		return nil, err
	}
	// OpenID Connect Core, section 5.3.2: otherwise the values MUST NOT be used.
	same := claims.Identifier(c.options.SubjectClaim) == subject
	if len(idToken) > 0 {
		same = claims.String("sub") != "" && claims.String("sub") == idToken.String("sub")
	}
	if !same {
		return nil, upstream.Rejected("userinfo is about another subject", nil)
	}
	return claims, nil
}
