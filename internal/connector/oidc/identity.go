package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// answers are what the provider said about one person.
type answers struct {
	idToken Claims // empty after a refresh without an ID token
	// userInfo is nil if the endpoint was not asked.
	userInfo Claims
}

// identity reads the claims; what the ID token lacks comes from userinfo.
func (c *Connector) identity(ctx context.Context, p *provider, token *oauth2.Token, subject string, a answers) (connector.Identity, error) {
	if claim.Subject(subject) == "" {
		return connector.Identity{}, upstream.Rejected("subject is empty or malformed", nil)
	}
	id := connector.Identity{Namespace: c.options.Namespace, Subject: subject}
	if p.UserInfoEndpoint != "" && a.userInfo == nil {
		if err := c.askUserInfo(ctx, p, token, &id, &a); err != nil {
			return connector.Identity{}, err
		}
	}
	if c.options.Admit != nil {
		source := a.idToken
		if len(source) == 0 { // a refresh without an ID token
			source = a.userInfo
		}
		if err := c.options.Admit(source); err != nil {
			return connector.Identity{}, err
		}
	}
	names := claim.Names{
		Email: c.options.EmailClaim, Name: c.options.NameClaim, Groups: c.options.GroupsClaim,
		GroupsFilter: c.options.GroupsFilter, Verified: c.options.TrustEmail,
	}
	claim.Fill(ctx, &id, a.idToken, names)
	claim.Fill(ctx, &id, a.userInfo, names)
	if c.options.Groups != nil {
		groups, problem, err := c.options.Groups(ctx, c.client, Person{subject, a.idToken}, token.AccessToken)
		if err != nil {
			return connector.Identity{}, fmt.Errorf("groups: %w", err)
		}
		claim.KeepGroups(ctx, &id, groups, problem, names)
	}
	return id, nil
}

// askUserInfo completes a with the userinfo response if the ID token lacks
// something. Where the configuration can do without what is missing, a failure
// is reported and leaves it unknown; else it is the failure of the sign-in.
func (c *Connector) askUserInfo(ctx context.Context, p *provider, token *oauth2.Token, id *connector.Identity, a *answers) error {
	missing := c.missing(p, a.idToken)
	if !missing.ask && len(a.idToken) > 0 {
		return nil
	}
	claims, err := c.userInfo(ctx, p, token, id.Subject, a.idToken)
	if err == nil {
		a.userInfo = claims
		return nil
	}
	if len(a.idToken) == 0 || missing.needed || errors.Is(err, errOtherSubject) {
		return fmt.Errorf("userinfo: %w", userInfoRefused(err))
	}
	id.Unknown.Groups = missing.groups
	connector.Notify(ctx, connector.Notice{Kind: connector.UserinfoLeftOut, Name: "userinfo", Problem: upstream.Clip(err.Error())})
	return nil
}

// userInfoRefused: the endpoint refuses an access token that the provider has
// just issued, so it refuses this client, and says nothing about the person.
func userInfoRefused(err error) error {
	status, ok := errors.AsType[*upstream.StatusError](err)
	if !ok || status.Code < 400 || status.Code >= 500 || status.Code == http.StatusTooManyRequests {
		return err
	}
	return upstream.Misconfigured("the userinfo endpoint refuses this client; let the provider put the claims into the ID token, or allow the client to read them", err)
}

// Verified is the provider's word about an address (OpenID Connect Core, section 5.1).
func Verified(_ string, claims Claims) bool { return claims.IsTrue("email_verified") }

// missing says what an ID token lacks.
type missing struct {
	ask    bool // the userinfo endpoint may have it
	needed bool // the configuration cannot do without
	groups bool // the groups are among it
}

// missing returns which claims are absent that were asked for, by scope or by
// name. A name or groups that nothing in the configuration uses are not worth a
// request, unless the provider says that it has groups.
func (c *Connector) missing(p *provider, claims Claims) missing {
	o := c.options
	email := (slices.Contains(o.Scopes, "email") || o.EmailClaim != "email") &&
		(!claims.Has(o.EmailClaim) || o.EmailVerifiedClaim != "" && !claims.Has(o.EmailVerifiedClaim))
	name := !o.Unused.Name && (slices.Contains(o.Scopes, "profile") || o.NameClaim != "name") && !claims.Has(o.NameClaim)
	groups := o.GroupsClaim != "" && !claims.Has(o.GroupsClaim)
	m := missing{groups: groups, needed: email || name || groups && !o.Unused.Groups}
	m.ask = m.needed || groups && slices.Contains(p.Claims, o.GroupsClaim)
	return m
}

var errOtherSubject = errors.New("userinfo is about another subject")

// userInfo asks about the person of an ID token's claims or, without those, about subject.
func (c *Connector) userInfo(ctx context.Context, p *provider, token *oauth2.Token, subject string, idToken Claims) (Claims, error) {
	header := http.Header{"Authorization": {"Bearer " + token.AccessToken}}
	claims := Claims{}
	if _, err := c.client.Get(ctx, p.UserInfoEndpoint, header, &claims); err != nil {
		return nil, err
	}
	// OpenID Connect Core, section 5.3.2: otherwise the values MUST NOT be used.
	same := claims.Identifier(c.options.SubjectClaim) == subject
	if len(idToken) > 0 {
		same = claims.String("sub") != "" && claims.String("sub") == idToken.String("sub")
	}
	if !same {
		return nil, errOtherSubject
	}
	return claims, nil
}
