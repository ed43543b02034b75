package microsoft

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// rolePrefix distinguishes an app role from a group. A group with this prefix is left
// out: people who may name groups must not be able to create roles.
const rolePrefix = "role:"

// maxPages bounds the requests for one person, of 999 memberships each.
const maxPages = 5

type groups struct {
	graph       string
	manyTenants bool
}

// of returns the groups and app roles of a person. The problem says that there
// are others.
func (g groups) of(ctx context.Context, client *upstream.Client, about oidc.Person, accessToken string) (all []string, problem string, err error) {
	claims := about.Claims
	if len(claims) == 0 {
		return nil, "the refresh gave no ID token, which would have them", nil
	}
	roles, roleProblem := claims.Groups("roles")
	for _, role := range roles { // first, because they are few
		all = append(all, rolePrefix+role)
	}
	member, problem := claims.Groups("groups")
	if overage(claims) {
		if member, err = g.ask(ctx, client, accessToken); err != nil {
			return nil, "", err
		}
		problem = ""
	}
	if roleProblem != "" {
		problem = "of the claim roles: " + roleProblem
	}
	for _, group := range member {
		if !strings.HasPrefix(group, rolePrefix) {
			all = append(all, group)
		}
	}
	if g.manyTenants {
		for i, name := range all {
			all[i] = claims.String("tid") + "/" + name
		}
	}
	return all, problem, nil
}

// overage reports whether there were too many groups for the token. The address in
// _claim_sources is not used: its API no longer exists, and a token must not decide
// where the person's token is sent.
// https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference#groups-overage-claim
func overage(claims oidc.Claims) bool {
	return claims.Elsewhere("groups")
}

// ask returns the ids of all groups that the person is in, directly or by way of
// others. Without all of them it returns an error: a rule may turn on any.
// https://learn.microsoft.com/en-us/graph/api/user-list-transitivememberof
func (g groups) ask(ctx context.Context, client *upstream.Client, accessToken string) ([]string, error) {
	address := g.graph + "/v1.0/me/transitiveMemberOf?%24select=id&%24top=999"
	var ids []string
	for range maxPages {
		var page struct {
			Value []struct {
				Type string `json:"@odata.type"`
				ID   string `json:"id"`
			} `json:"value"`
			Next string `json:"@odata.nextLink"`
		}
		_, err := client.Get(ctx, address, http.Header{"Authorization": {"Bearer " + accessToken}}, &page)
		if status, ok := errors.AsType[*upstream.StatusError](err); ok && status.Code >= 400 && status.Code < 500 && status.Code != http.StatusTooManyRequests {
			// Not the person is refused, but what this service may ask.
			return nil, upstream.Misconfigured("Microsoft Graph refuses; is User.Read among the scopes, and consented to?", err)
		}
		if err != nil {
			return nil, upstream.Failed("Microsoft Graph", err)
		}
		for _, object := range page.Value {
			if object.Type == "#microsoft.graph.group" { // and not a directory role or an administrative unit
				ids = append(ids, object.ID)
			}
		}
		if page.Next == "" {
			return ids, nil
		}
		if address = page.Next; !g.trusted(address) {
			return nil, upstream.Rejected("the next page is not at Microsoft Graph", nil)
		}
	}
	return nil, upstream.Misconfigured("the person is in more groups than can be read; let Microsoft name only groups assigned to the application, or use app roles", nil)
}

// trusted: the person's token goes to Graph and nowhere else.
func (g groups) trusted(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.User == nil && u.Scheme+"://"+u.Host == g.graph && strings.HasPrefix(u.Path, "/v1.0/me/")
}
