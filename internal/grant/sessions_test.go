package grant_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// Refresh tokens of real providers have up to 2 KB, and access tokens more. A
// client gets a refresh token that works, or none and the log says why.
func TestLargeProviderTokens(t *testing.T) {
	t.Parallel()
	groups := make([]string, 60)
	for i := range groups {
		groups[i] = fmt.Sprintf("8f14e45f-ceea-467f-9575-%012d", i)
	}
	many := make([]string, 200) // as many and as long as a connector lets through
	for i := range many {
		many[i] = strings.Repeat("g", 240) + fmt.Sprint(i)
	}
	type fake interface {
		SignInAs(oauthtest.User)
		GiveRefreshTokens(bool)
		SetSizes(oauthtest.Sizes)
	}
	providers := map[string]func(*testing.T) (fake, func(*config.File)){
		"oidc": func(t *testing.T) (fake, func(*config.File)) {
			p := oauthtest.NewOIDCProvider(t)
			return p, servertest.UseOIDC(p)
		},
		"github": func(t *testing.T) (fake, func(*config.File)) {
			p := oauthtest.NewGitHub(t)
			return p, servertest.UseGitHub(p)
		},
	}
	begin := func(t *testing.T, provider string, bytes int, groups []string) (*servertest.Service, *servertest.Client) {
		t.Parallel()
		p, use := providers[provider](t)
		who := servertest.Person
		who.Groups = groups
		p.SignInAs(who)
		p.GiveRefreshTokens(true)
		p.SetSizes(oauthtest.Sizes{Refresh: bytes, Access: bytes})
		s := servertest.Start(t, servertest.Options{Edit: use, Files: servertest.ProviderFiles})
		return s, s.NewClient(t, servertest.Host, servertest.WithRefresh)
	}
	for _, tt := range []struct {
		provider string
		bytes    int
		groups   []string
	}{{"oidc", 100, nil}, {"oidc", 1400, groups}, {"oidc", 1500, nil}, {"oidc", 1700, groups}, {"oidc", 1900, groups}, {"oidc", 2500, many}, {"github", 1900, nil}, {"github", 2500, nil}} {
		t.Run(fmt.Sprintf("AS-RT-01 %s with tokens of %d bytes", tt.provider, tt.bytes), func(t *testing.T) {
			s, c := begin(t, tt.provider, tt.bytes, tt.groups)
			a := c.Begin().With("state", strings.Repeat("s", 700))
			code := a.Code(t, s.NewBrowser())
			location := c.RedirectURI + "?" + url.Values{"code": {code}, "state": {a.State()}, "iss": {servertest.Issuer(servertest.Host)}}.Encode()
			if len(location) > 4000 {
				t.Errorf("the browser is sent to a URL of %d bytes", len(location))
			}
			answer := a.Exchange(t, code)
			if answer.Status != 200 || answer.String("refresh_token") == "" {
				t.Fatalf("status %d, want 200: %s", answer.Status, answer.Body)
			}
			k := servertest.Tokens{Client: c, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
			for range 3 {
				k = k.Again(t)
			}
			s.MustPass(t, servertest.Resource, k.Access)
		})
	}
	t.Run("AS-RT-01 no refresh token that is dead from birth", func(t *testing.T) {
		s, c := begin(t, "oidc", 8000, nil)
		a := c.Begin()
		answer := a.Exchange(t, a.Code(t, s.NewBrowser()))
		if answer.Status != 200 || answer.JSON["refresh_token"] != nil {
			t.Errorf("status %d, want 200: %s", answer.Status, answer.Body)
		}
		if e := s.Log.Last(audit.TokenIssued); e["reason"] != "no_refresh_token" {
			t.Errorf("audit says %v", e)
		}
		if e := s.Log.Last(audit.LoginCompleted); !strings.Contains(e["cause"], "larger than") {
			t.Errorf("audit says %v", e)
		}
		s.MustPass(t, servertest.Resource, answer.String("access_token"))
	})
	t.Run("AS-RT-01 a session that another replica has in its memory", func(t *testing.T) {
		s, c := begin(t, "oidc", 2500, nil)
		a := c.Begin()
		code := a.Code(t, s.NewBrowser())
		at := *a
		at.Client = c.On(s.Replica())
		answer := at.Exchange(t, code)
		if answer.Status != 200 || answer.JSON["refresh_token"] != nil {
			t.Errorf("status %d, want 200: %s", answer.Status, answer.Body)
		}
		if e := s.Log.Last(audit.TokenIssued); e["reason"] != "no_refresh_token" {
			t.Errorf("audit says %v", e)
		}
	})
}
