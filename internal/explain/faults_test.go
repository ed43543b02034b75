package explain_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/explain"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// TestFaults injects what operators meet at three in the morning, and asks what the
// sign-in, or the last line about the request, says of it.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		inject func(t *testing.T) *servertest.Service
		line   audit.Event // explained alone; "" explains the last sign-in
		says   []string
	}{
		"two replicas with different seeds": {differentSeeds, "", []string{"different seeds", "mcp_forward_auth_seed_info"}},
		"the provider's clock is an hour slow": {func(t *testing.T) *servertest.Service {
			s, idp := servertest.Quick(t)
			idp.SetNow(func() time.Time { return s.Clock.Now().Add(-time.Hour) })
			walk(t, s)
			return s
		}, "", []string{"The identity provider's answer does not verify", "cause: ", "ago, although it is new", "set both by NTP"}},
		"the provider's clock is ten minutes fast": {func(t *testing.T) *servertest.Service {
			s, idp := servertest.Quick(t)
			idp.SetNow(func() time.Time { return s.Clock.Now().Add(10 * time.Minute) })
			walk(t, s)
			return s
		}, "", []string{"in the future", "set both by NTP", "check-config --online"}},
		"the provider wants to ask and does not": {refusesAuthorization("consent_required"), "", []string{"consent of an administrator"}},
		"the provider fails by itself":           {refusesAuthorization("server_error"), "", []string{"failed by itself", "its own log"}},
		"the provider does not take the code": {func(t *testing.T) *servertest.Service {
			s, idp := servertest.Quick(t)
			idp.RefuseToken("invalid_grant")
			walk(t, s)
			return s
		}, "", []string{"does not take the code", "redirect URI is another"}},
		"a page in the place of the provider's keys": {func(t *testing.T) *servertest.Service {
			s, idp := servertest.Quick(t)
			idp.Break(oauthtest.Keys, oauthtest.Garbage)
			walk(t, s)
			return s
		}, "", []string{"key set", "a page in the place of JSON"}},
		"a reload of the page of a refusal": {func(t *testing.T) *servertest.Service {
			s, idp := servertest.Quick(t)
			idp.RefuseToken("invalid_client")
			b := s.NewBrowser()
			back := servertest.Follow(t, b, b.Open(t, s.NewClient(t, servertest.Host, nil).Begin().URL()))
			b.Open(t, back.Location())
			b.Open(t, back.Location())
			return s
		}, "", []string{"used_twice", "cannot be used until something is changed", "cause: ", "invalid_client"}},
		"a code that is redeemed late": {func(t *testing.T) *servertest.Service {
			s, _ := servertest.Quick(t)
			a := s.NewClient(t, servertest.Host, nil).Begin()
			code := a.Code(t, s.NewBrowser())
			s.Clock.Advance(2 * time.Minute)
			a.Exchange(t, code)
			return s
		}, "", []string{"more than a minute", "clocks differ"}},
		"a wrong secret at the provider": {func(t *testing.T) *servertest.Service {
			s, idp := servertest.Quick(t)
			idp.RefuseToken("invalid_client")
			walk(t, s)
			if n := strings.Count(s.Log.String(), `"level":"ERROR","msg":"an identity provider cannot be used`); n != 1 {
				t.Errorf("the log has %d lines about it", n)
			}
			walk(t, s)
			if n := strings.Count(s.Log.String(), `"level":"ERROR","msg":"an identity provider cannot be used`); n != 1 {
				t.Errorf("the log has %d lines about it within a minute", n)
			}
			return s
		}, "", []string{"until something is changed", "cause: ", "invalid_client", "secret"}},
		"a wrong secret of a client": {func(t *testing.T) *servertest.Service {
			s, _ := servertest.Quick(t)
			c := s.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_post"})
			a := c.Begin()
			form := a.TokenForm(a.Code(t, s.NewBrowser()))
			form.Set("client_secret", "wrong")
			c.Token(t, form)
			return s
		}, audit.TokenRefused, []string{"client secret is wrong", "put the secret"}},
		"the MCP server is down": {func(t *testing.T) *servertest.Service {
			s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Proxy.Hosts[0].Endpoint = "http://127.0.0.1:1/mcp" }})
			s.NewBrowser().Open(t, s.NewClient(t, servertest.Host, nil).Begin().URL())
			if !strings.Contains(s.Log.String(), `"msg":"MCP server does not list its tools`) {
				t.Error("the log does not say that it is down")
			}
			return s
		}, "", []string{"has not read the MCP server's list", "make the MCP server available"}},
		"the provider hangs on its own page": {func(t *testing.T) *servertest.Service {
			s, _ := servertest.Quick(t)
			s.NewBrowser().Open(t, s.NewClient(t, servertest.Host, nil).Begin().URL()) // and no more
			return s
		}, "", []string{"went to the identity provider, and did not come back", "hangs"}},
		"a domain that is not admitted": {func(t *testing.T) *servertest.Service {
			stranger := servertest.Person
			stranger.Email = "jane@elsewhere.example"
			idp := oauthtest.NewOIDCProvider(t)
			idp.SignInAs(stranger)
			s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(idp), servertest.WithoutConsent, func(f *config.File) {
				f.Provider.AllowedEmailDomains = []string{`example\.com`}
			})})
			walk(t, s)
			return s
		}, "", []string{"domain of the account's e-mail address is not allowed", "jane@elsewhere.example", "allowedEmailDomains"}},
		"a rule that gives nothing": {func(t *testing.T) *servertest.Service {
			idp := oauthtest.NewOIDCProvider(t)
			idp.SignInAs(servertest.Member("ann", "sales"))
			s := servertest.Policed(t, idp, servertest.WithoutConsent, rule.Rule{Effect: "allow", Groups: []string{"dev"}})
			walk(t, s)
			return s
		}, "", []string{"rules of the policy", "check-config --as", "user="}},
		"a gateway that drops the token": {func(t *testing.T) *servertest.Service {
			s, _ := servertest.Quick(t)
			s.Ask(t, servertest.Resource, "")
			return s
		}, audit.AccessDenied, []string{"carries no access token", "drops Authorization"}},
		"the seed was replaced": {func(t *testing.T) *servertest.Service {
			s, _ := servertest.Quick(t)
			c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
			k := servertest.SignIn(t, c)
			other := another(t)
			servertest.Tokens{Client: c.On(other), Refresh: k.Refresh}.Client.Token(t, servertest.RefreshForm(c, k.Refresh))
			return other
		}, audit.TokenRefused, []string{"seed was replaced"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tt.inject(t)
			text := told(t, s, tt.line).String()
			for _, want := range tt.says {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in:\n%s", want, text)
				}
			}
			if n := strings.Count(text, "\n"); n > 24 {
				t.Errorf("%d lines do not fit on a screen", n)
			}
		})
	}
}

// told is the story of the last sign-in, or of the last line of an event.
func told(t *testing.T, s *servertest.Service, event audit.Event) *explain.Story {
	t.Helper()
	var last explain.Entry
	for line := range strings.Lines(s.Log.String()) {
		if e, err := explain.Parse([]byte(line)); err == nil && (event == "" && e.Flow != "" || e.Event == event) {
			last = e
		}
	}
	if event != "" {
		return explain.Tell(last)
	}
	found, err := explain.Find(strings.NewReader(s.Log.String()), last.Flow, new(explain.Searched))
	if err != nil || len(found) == 0 {
		t.Fatalf("the log has nothing about %q: %v", last.Flow, err)
	}
	return explain.Tell(found...)
}

// refusesAuthorization is a service whose provider sends people back with an error.
func refusesAuthorization(code string) func(*testing.T) *servertest.Service {
	return func(t *testing.T) *servertest.Service {
		s, idp := servertest.Quick(t)
		idp.RefuseAuthorization(code)
		walk(t, s)
		return s
	}
}

// walk lets a browser sign in until it is refused or is at the client.
func walk(t *testing.T, s *servertest.Service) {
	t.Helper()
	b := s.NewBrowser()
	page := b.Open(t, s.NewClient(t, servertest.Host, nil).Begin().URL())
	for range 5 {
		if to := page.Location(); page.Status < http.StatusBadRequest && to != "" && !strings.HasPrefix(to, servertest.RedirectURI) {
			page = servertest.Follow(t, b, page)
		}
	}
}

// another is a service like Quick's with another seed.
func another(t *testing.T) *servertest.Service {
	t.Helper()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	files := map[string]string{"other": strings.Repeat("another seed of many bytes; 7%!", 2)}
	for name, text := range servertest.ProviderFiles {
		files[name] = text
	}
	return servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.UseOIDC(oidc), servertest.WithoutConsent, func(f *config.File) {
		f.Keys.SeedFiles = []string{"other"}
	}), Files: files})
}

// differentSeeds begins a sign-in at one service and ends it at one with another seed.
func differentSeeds(t *testing.T) *servertest.Service {
	t.Helper()
	s, _ := servertest.Quick(t)
	other := another(t)
	b := s.NewBrowser()
	page := b.Open(t, s.NewClient(t, servertest.Host, nil).Begin().URL()) // on the way to the provider
	back := servertest.Follow(t, b, page)
	b.On(other).Open(t, back.Location())
	return other
}
