package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// maxGroupPages bounds the requests for organizations, and those for teams.
const maxGroupPages = 5

// groups returns the organizations of a person as "org" and their teams as "org/slug",
// in lower case, because GitHub tells no two logins apart by case. It refuses a person
// who is in none of the allowed ones.
func (c *Connector) groups(ctx context.Context, accessToken string) ([]string, error) {
	if !c.askGroups {
		return nil, nil
	}
	type organization struct {
		Login string `json:"login"`
	}
	type team struct {
		Slug         string       `json:"slug"`
		Organization organization `json:"organization"`
	}
	organizations, err := all[organization](ctx, c, "/user/orgs", accessToken)
	if err != nil {
		return nil, err
	}
	teams, err := all[team](ctx, c, "/user/teams", accessToken)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range organizations {
		if o.Login == "" {
			return nil, upstream.Rejected("an organization at /user/orgs has no login", nil)
		}
		names = append(names, strings.ToLower(o.Login))
	}
	for _, t := range teams {
		if t.Organization.Login == "" || t.Slug == "" {
			return nil, upstream.Rejected("a team at /user/teams has no slug or organization", nil)
		}
		names = append(names, strings.ToLower(t.Organization.Login+"/"+t.Slug))
	}
	admitted := func(name string) bool { return slices.Contains(names, name) }
	if len(c.organizations) > 0 && !slices.ContainsFunc(c.organizations, admitted) {
		return nil, upstream.NotAllowed("the account is in no organization or team that is admitted")
	}
	groups, problem := claim.Groups(names, c.groupsFilter)
	if problem != "" {
		return nil, upstream.Rejected("an organization or team cannot be used: "+problem, nil)
	}
	return groups, nil
}

// all reads every page of a list. Without all of them it returns an error: a rule
// may turn on any entry.
func all[T any](ctx context.Context, c *Connector, path, accessToken string) ([]T, error) {
	var list []T
	for number := range maxGroupPages {
		var page []T
		header, err := c.get(ctx, path+"?per_page="+strconv.Itoa(perPage)+"&page="+strconv.Itoa(number+1), accessToken, &page)
		if status, ok := errors.AsType[*upstream.StatusError](err); ok && (status.Code == http.StatusForbidden || status.Code == http.StatusNotFound) {
			// Not the person is refused, but what this service may ask.
			return nil, upstream.Misconfigured("GitHub refuses "+path+"; an OAuth app needs the scope read:org, a GitHub App the organization permission Members", err)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, page...)
		if !hasNext(header) {
			return list, nil
		}
	}
	return nil, upstream.Misconfigured("more entries at "+path+" than can be read; for this account leave allowedOrganizations and read:org out, or take it out of organizations", nil)
}
