package policy_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A rule that denies a group holds for people whose groups cannot be read, at
// the sign-in and at a refresh, and a rule that allows one does not.
func TestUnreadableGroups(t *testing.T) {
	t.Parallel()
	allow := rule.Rule{Effect: "allow", Anyone: true}
	deny := rule.Rule{Effect: "deny", Groups: []string{"dev"}}
	for _, tt := range []struct {
		name   string
		groups any
		denied bool
	}{
		{"an object whose keys are groups", map[string]any{"dev": map[string]any{}}, true},
		{"an object of other groups", map[string]any{"ops": map[string]any{"123": "corp"}}, false},
		{"a list in an object", map[string]any{"list": []string{"dev"}}, true},
		{"objects in a list", []any{map[string]any{"name": "dev"}}, true},
		{"numbers", []any{42}, true},
		{"text with commas", "ops,dev", true},
		{"true", true, true},
		{"an empty list", []any{}, false},
		{"null", nil, false},
		{"other groups", []any{"ops"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			idp := oauthtest.NewOIDCProvider(t)
			idp.GiveRefreshTokens(true)
			idp.SignInAs(servertest.Member("jane"))
			edit := func(m map[string]any) { m["groups"] = tt.groups }
			s := servertest.Policed(t, idp, nil, allow, deny)
			c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
			signedIn := servertest.SignIn(t, c) // who is in no group yet
			idp.EditClaims(edit)
			idp.EditUserInfo(edit)

			if !tt.denied {
				signedIn.Again(t)
				servertest.SignIn(t, c)
				return
			}
			signedIn.Refused(t, http.StatusBadRequest, "invalid_grant", "not_allowed_by_policy")
			page := servertest.End(t, s.NewBrowser(), c.Begin().URL())
			if refused := s.Log.Last(audit.LoginRefused); page.Status != http.StatusForbidden || refused["reason"] != "not_allowed_by_policy" {
				t.Errorf("sign-in: %d, audit %v", page.Status, refused)
			}
		})
	}
}

// The log names the shape once for each provider, however many people sign in.
func TestUnreadableClaimIsLoggedOnce(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Member("jane"))
	idp.EditClaims(func(m map[string]any) { m["groups"] = []any{map[string]any{"name": "dev"}} })
	s := servertest.Policed(t, idp, nil, rule.Rule{Effect: "allow", Groups: []string{"ops"}}, rule.Rule{Effect: "allow", Anyone: true, Scopes: []string{"notes:read"}})
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	for range 2 {
		servertest.SignIn(t, c)
	}
	warned := 0
	for line := range strings.Lines(s.Log.String()) {
		if strings.Contains(line, `"level":"WARN"`) && strings.Contains(line, `"claim":"groups"`) {
			warned++
			if !strings.Contains(line, `"problem":"it is a list that holds an object`) || !strings.Contains(line, `"provider":"oidc"`) {
				t.Errorf("%s", line)
			}
		}
	}
	if warned != 1 {
		t.Errorf("%d warnings", warned)
	}
	const metric = `mcp_forward_auth_provider_left_out_total{kind="claim",provider="oidc"} 2`
	if _, metrics := s.Management(t, "/metrics"); !strings.Contains(metrics, metric) {
		t.Errorf("no %s", metric)
	}
}

// The operator's deny-list names an address, and this person's cannot be read.
func TestUnreadableAddressOnTheDenyList(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.GiveRefreshTokens(true)
	idp.SignInAs(servertest.Member("jane"))
	list := filepath.Join(t.TempDir(), "deny.yaml")
	if err := os.WriteFile(list, []byte("emails: [mallory@example.com]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, servertest.Options{
		Files: map[string]string{"client-secret": oauthtest.ClientSecret, list: ""},
		Edit:  servertest.Edits(servertest.UseOIDC(idp), func(f *config.File) { f.DenyList.File = list }),
	})
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	k := servertest.SignIn(t, c)
	idp.EditClaims(func(m map[string]any) { m["email"] = []string{"mallory@example.com"} })
	k.Refused(t, http.StatusBadRequest, "invalid_grant", "denied_by_operator")
	a := c.Begin()
	b := s.NewBrowser()
	if at := b.Walk(t, b.Open(t, a.URL()), c.RedirectURI); at.Query().Get("error") != "access_denied" {
		t.Errorf("%v", at)
	}
	if e := s.Log.Last(audit.LoginRefused); e["reason"] != "denied_by_operator" || !strings.Contains(e["cause"], "unknown") {
		t.Errorf("audit says %v", e)
	}
}
