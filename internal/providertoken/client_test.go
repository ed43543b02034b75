package providertoken_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const (
	header        = "X-Forwarded-Access-Token"
	otherHost     = "other.example.com"
	otherResource = "https://other.example.com/mcp"
)

// gets makes the section of the first MCP server.
func gets(edit func(*providertoken.File)) func(*config.File) {
	return func(f *config.File) {
		section := &f.Proxy.Hosts[0].ProviderToken
		section.Token = "access"
		if edit != nil {
			edit(section)
		}
	}
}

// fixture is a service whose MCP server gets tokens of an OpenID provider.
type fixture struct {
	*servertest.Service
	provider *oauthtest.OIDCProvider
	client   *servertest.Client
	options  servertest.Options
}

func start(t *testing.T, edit func(*providertoken.File), more ...func(*config.File)) fixture {
	t.Helper()
	p := oauthtest.NewOIDCProvider(t)
	p.SignInAs(servertest.Person)
	p.GiveRefreshTokens(true)
	edits := append([]func(*config.File){servertest.UseOIDC(p), gets(edit)}, more...)
	o := servertest.Options{Edit: servertest.Edits(edits...), Files: servertest.ProviderFiles}
	s := servertest.Start(t, o)
	return fixture{s, p, s.NewClient(t, servertest.Host, servertest.WithRefresh), o}
}

// token asks as a gateway and returns the provider's token for the MCP server, which
// has to be good there.
func (f fixture) token(t *testing.T, access string) string {
	t.Helper()
	got := f.MustPass(t, servertest.Resource, access).Header.Get(header)
	if _, _, ok := f.provider.Live(got); !ok {
		t.Fatalf("the MCP server gets %q, which is no good token of the provider", got)
	}
	return got
}

func TestClientForm(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	k := servertest.SignIn(t, f.client)
	first := f.token(t, k.Access)
	if strings.Contains(k.Access, first) {
		t.Error("the access token shows the provider's")
	}
	// The client's refresh is the provider's refresh.
	k = k.Again(t)
	if second := f.token(t, k.Access); second == first {
		t.Error("a refresh brings the same token of the provider")
	}
	if a := f.Ask(t, servertest.Resource, k.Access, header, "forged"); a.Header.Get(header) == "forged" {
		t.Error("the client's own header came through")
	}
}

// An access token dies before the token that it carries.
func TestLifetimeIsCoupled(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.provider.SetLife(10 * time.Minute)
	a := f.client.Begin()
	answer := a.Exchange(t, a.Code(t, f.NewBrowser()))
	if got := answer.JSON["expires_in"].(float64); got < 530 || got > 540 {
		t.Fatalf("the access token lives for %v s; the provider's for 600", got)
	}
	k := servertest.Tokens{Client: f.client, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
	f.Clock.Advance(9*time.Minute + time.Second)
	f.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
	f.token(t, k.Again(t).Access)
}

func TestTooShort(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.provider.SetLife(2 * time.Minute)
	a := f.client.Begin()
	answer := a.Exchange(t, a.Code(t, f.NewBrowser()))
	if answer.Status != 500 || answer.String("error") != "server_error" {
		t.Fatalf("status %d, want 500: %s", answer.Status, answer.Body)
	}
	if e := f.Log.Last(audit.TokenRefused); e["reason"] != "provider_token_too_short" || !strings.Contains(e["cause"], "minLifetime") {
		t.Errorf("audit: %v", e)
	}
	// The same with a floor below.
	f = start(t, func(s *providertoken.File) { s.MinLifetime = 30 * time.Second })
	f.provider.SetLife(90 * time.Second)
	f.token(t, servertest.SignIn(t, f.client).Access)
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for _, size := range []int{40, 1200, 2500, 2900} {
		f := start(t, nil)
		f.provider.SetSizes(oauthtest.Sizes{Access: size, Refresh: 1900})
		k := servertest.SignIn(t, f.client)
		for range 2 {
			if got := f.token(t, k.Access); len(got) < size {
				t.Errorf("%d of %d bytes", len(got), size)
			}
			if len(k.Access) > 7<<10 {
				t.Errorf("an access token of %d bytes", len(k.Access))
			}
			k = k.Again(t)
		}
	}
	f := start(t, nil)
	f.provider.SetSizes(oauthtest.Sizes{Access: 6000})
	a := f.client.Begin()
	answer := a.Exchange(t, a.Code(t, f.NewBrowser()))
	if e := f.Log.Last(audit.TokenRefused); answer.Status != 500 || e["reason"] != "provider_token_too_large" || !strings.Contains(e["cause"], "6") {
		t.Errorf("a token of 6000 bytes: status %d, want 500: %s, %v", answer.Status, answer.Body, e)
	}
}

// Each server gets what was agreed to for it, and no sign-in asks for more.
func TestScopesOfEachServer(t *testing.T) {
	t.Parallel()
	second := func(f *config.File) {
		servertest.SecondHost(f)
		f.Proxy.Hosts[1].ProviderToken.Scopes = []string{"calendar"}
		f.Proxy.Hosts[1].ProviderToken.Params = map[string]string{"audience": "https://calendar.example"}
	}
	f := start(t, func(s *providertoken.File) { s.Scopes = []string{"drive.readonly"} }, second)
	other := f.NewClient(t, otherHost, servertest.WithRefresh)
	for _, c := range []struct {
		client             *servertest.Client
		address, has, lack string
	}{{f.client, servertest.Resource, "drive.readonly", "calendar"}, {other, otherResource, "calendar", "drive"}} {
		k := servertest.SignIn(t, c.client)
		sent := f.provider.Sent(oauthtest.Authorization)
		if (sent.Get("audience") != "") != (c.has == "calendar") {
			t.Errorf("sent %v", sent)
		}
		_, scopes, live := f.provider.Live(f.MustPass(t, c.address, k.Access).Header.Get(header))
		if !live || !strings.Contains(scopes, c.has) || strings.Contains(scopes, c.lack) || !strings.Contains(scopes, "openid") {
			t.Errorf("%s gets a token for %q", c.address, scopes)
		}
	}
}

func TestConsentSaysIt(t *testing.T) {
	t.Parallel()
	f := start(t, func(s *providertoken.File) { s.Scopes = []string{"drive.readonly"} }, func(f *config.File) {
		servertest.SecondHost(f)
		f.Proxy.Hosts[1].ProviderToken = servertest.NewHost("", "").ProviderToken
	})
	page := f.NewBrowser().Open(t, f.client.Begin().URL())
	if text := page.Text(); !strings.Contains(text, "The server acts as you") || !strings.Contains(text, "drive.readonly") {
		t.Errorf("the consent page says\n%s", text)
	}
	page = f.NewBrowser().Open(t, f.NewClient(t, otherHost, servertest.WithRefresh).Begin().URL())
	if strings.Contains(page.Text(), "acts as you") {
		t.Error("and that of a server that gets no token says so too")
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	f := start(t, func(s *providertoken.File) { s.Header = "Authorization" })
	got := f.MustPass(t, servertest.Resource, servertest.SignIn(t, f.client).Access).Header.Get("Authorization")
	if _, _, live := f.provider.Live(strings.TrimPrefix(got, "Bearer ")); !live || !strings.HasPrefix(got, "Bearer ") {
		t.Errorf("Authorization: %q", got)
	}
	f = start(t, func(s *providertoken.File) { s.Header = "X-Goog-Token" })
	if a := f.MustPass(t, servertest.Resource, servertest.SignIn(t, f.client).Access); a.Header.Get("X-Goog-Token") == "" || a.Header.Get(header) != "" {
		t.Errorf("%v", a.Header)
	}
}

func TestIDToken(t *testing.T) {
	t.Parallel()
	f := start(t, func(s *providertoken.File) { s.Token = "id" })
	k := servertest.SignIn(t, f.client)
	first := f.MustPass(t, servertest.Resource, k.Access).Header.Get(header)
	if strings.Count(first, ".") != 2 {
		t.Fatalf("not an ID token: %q", first)
	}
	k = k.Again(t)
	second := f.MustPass(t, servertest.Resource, k.Access).Header.Get(header)
	if second == first {
		t.Error("a refresh brings no new one")
	}
	// A refresh without one leaves the last, which is good until it expires.
	f.provider.Commit(oauthtest.NoIDToken)
	k = k.Again(t)
	if got := f.MustPass(t, servertest.Resource, k.Access).Header.Get(header); got != second {
		t.Errorf("got %q, want %v", got, second)
	}
	f.Clock.Advance(4 * time.Minute)
	k.Refused(t, 400, "invalid_grant", "provider_token_too_short")
}

func TestExchange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		section providertoken.ExchangeFile
		want    string
	}{
		"as Keycloak":  {providertoken.ExchangeFile{Method: "token-exchange", Audience: "notes-api"}, "exchanged for notes-api"},
		"as Microsoft": {providertoken.ExchangeFile{Method: "on-behalf-of", Scopes: []string{"https://graph.microsoft.com/.default"}}, "exchanged for https://graph.microsoft.com/.default"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, func(s *providertoken.File) { s.Token, s.Exchange = "exchange", c.section })
			k := servertest.SignIn(t, f.client)
			for range 2 {
				if _, scopes, live := f.provider.Live(f.token(t, k.Access)); !live || scopes != c.want {
					t.Errorf("got a token %q, want %v", scopes, c.want)
				}
				k = k.Again(t)
			}
			// A provider that refuses the exchange says so to the operator, for good.
			f.provider.RefuseToken("unauthorized_client")
			k.Refused(t, 500, "server_error", "provider_misconfigured")
			f.provider.RefuseToken("")
			f.token(t, k.Again(t).Access)
		})
	}
}

// People of a provider that is not named have no token, and sign in all the same.
func TestOtherProvider(t *testing.T) {
	t.Parallel()
	p, g := oauthtest.NewOIDCProvider(t), oauthtest.NewGitHub(t)
	for _, one := range []oauthtest.Provider{p, g} {
		one.SignInAs(servertest.Person)
		one.GiveRefreshTokens(true)
	}
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseSeveral([]string{"corp", "github"}, servertest.UseOIDC(p), servertest.UseGitHub(g)),
			gets(func(f *providertoken.File) { f.Provider = "corp" })),
		Files: servertest.ProviderFiles,
	})
	for id, has := range map[string]bool{"corp": true, "github": false} {
		c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
		b := s.NewBrowser()
		b.Provider = id
		a := c.Begin()
		answer := a.Exchange(t, a.Code(t, b))
		got := s.MustPass(t, servertest.Resource, answer.String("access_token")).Header.Get(header)
		if has == (got == "-") {
			t.Errorf("%s: the server gets %q", id, got)
		}
	}
}
