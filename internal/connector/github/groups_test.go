package github_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/github"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

func many(format string, n int, last ...string) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf(format, i))
	}
	return append(names, last...)
}

func TestGroups(t *testing.T) {
	for _, c := range []struct {
		name    string
		groups  []string
		allowed []string
		scopes  []string
		filter  []string
		prepare func(*oauthtest.GitHub)
		want    []string
		err     error
	}{
		{"not asked for", []string{"octo-org"}, nil, nil, nil, nil, nil, nil},
		{"asked for by scope", []string{"Octo-Org", "Octo-Org/Sec"}, nil, []string{"read:org"}, nil, nil, []string{"octo-org", "octo-org/sec"}, nil},
		{"an organization admits", []string{"x", "Octo-Org"}, []string{"octo-org"}, nil, nil, nil, []string{"x", "octo-org"}, nil},
		{"a team admits", []string{"octo-org", "octo-org/sec"}, []string{"y", "octo-org/sec"}, nil, nil, nil, []string{"octo-org", "octo-org/sec"}, nil},
		{"another team does not", []string{"octo-org", "octo-org/dev"}, []string{"octo-org/sec"}, nil, nil, nil, nil, connector.ErrNotAllowed},
		{"nor a team of another organization", []string{"evil", "evil/sec"}, []string{"octo-org/sec"}, nil, nil, nil, nil, connector.ErrNotAllowed},
		{"nor a name that begins alike", []string{"octo-org-evil"}, []string{"octo-org"}, nil, nil, nil, nil, connector.ErrNotAllowed},
		{"in none", nil, []string{"octo-org"}, nil, nil, nil, nil, connector.ErrNotAllowed},
		{"on the third page", many("o-%d", 250, "octo-org"), []string{"octo-org"}, nil, []string{"octo-*"}, nil, []string{"octo-org"}, nil},
		{"teams on the third page", many("o/t-%d", 250, "octo-org/sec"), []string{"octo-org/sec"}, nil, []string{"octo-*"}, nil, []string{"octo-org/sec"}, nil},
		{"pages are bounded", many("o-%d", 501), []string{"o-0"}, nil, nil, nil, nil, connector.ErrRejected},
		{"a filter hides what admits from nobody but the MCP server", []string{"octo-org", "x"}, []string{"octo-org"}, nil, []string{"x"}, nil, []string{"x"}, nil},
		{"scope not granted", []string{"octo-org"}, []string{"octo-org"}, nil, nil, func(g *oauthtest.GitHub) { g.RefuseGroups(403) }, nil, connector.ErrRejected},
		{"rate limit", []string{"octo-org"}, []string{"octo-org"}, nil, nil, func(g *oauthtest.GitHub) { g.RateLimit(true) }, nil, connector.ErrUnavailable},
	} {
		t.Run("AS-FED-06 "+c.name, func(t *testing.T) {
			g := oauthtest.NewGitHub(t)
			user := alice
			user.Groups = c.groups
			g.SignInAs(user)
			if c.prepare != nil {
				c.prepare(g)
			}
			settings := &github.Settings{App: connectortest.App(), AllowedOrganizations: c.allowed}
			settings.Scopes, settings.GroupsFilter = c.scopes, c.filter
			f := connectortest.Fixture{Provider: g, Connector: github.New(settings, connectortest.Client(g))}
			id, err := connectortest.SignIn(t, f, connectortest.NewLogin())
			if !errors.Is(err, c.err) || !slices.Equal(id.Groups, c.want) {
				t.Errorf("groups %q, %v, want %q, %v", id.Groups, err, c.want, c.err)
			}
		})
	}
}

// An OAuth app's token does not expire; that of a GitHub App does, and is
// exchanged for the next.
func TestRecheckMembership(t *testing.T) {
	for _, app := range []bool{false, true} {
		t.Run(fmt.Sprint("AS-FED-09 GitHub App ", app), func(t *testing.T) {
			f, g := at(t, "", "octo-org")
			member := alice
			member.Groups = []string{"octo-org"}
			g.SignInAs(member)
			g.GiveRefreshTokens(app)
			login := connectortest.NewLogin()
			id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
			if err != nil || app != (session.RefreshToken != "") || app != (session.Expires != 0) {
				t.Fatalf("%v, refresh token %v, expires %d", err, session.RefreshToken != "", session.Expires)
			}
			recheck := f.Connector.(connector.Rechecker).Recheck
			for range 2 { // the second time with the token that the first brought
				if app {
					session.Expires = 1
				}
				var now connector.Identity
				if now, session, err = recheck(t.Context(), id, session); err != nil || !slices.Equal(now.Groups, member.Groups) {
					t.Fatalf("%+v, %v", now, err)
				}
			}
			for _, status := range []int{403, 404} {
				g.RefuseGroups(status)
				if _, _, err = recheck(t.Context(), id, session); !errors.Is(err, connector.ErrMisconfigured) {
					t.Errorf("%d for the list is not the end of a person: %v", status, err)
				}
			}
			g.RefuseGroups(0)
			g.Change(alice)
			if _, _, err = recheck(t.Context(), id, session); !errors.Is(err, connector.ErrNotAllowed) {
				t.Errorf("left the organization: %v", err)
			}
			g.Remove(alice.Subject)
			if _, _, err = recheck(t.Context(), id, session); !errors.Is(err, connector.ErrGone) {
				t.Errorf("token taken back: %v", err)
			}
		})
	}
}
