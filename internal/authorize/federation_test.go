package authorize_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

func TestIdentityProviderMisbehaves(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseOIDC(oidc), func(f *config.File) { f.Provider.AllowedEmailDomains = []string{`example\.com`} }),
		// The connector gives a call ten seconds; a test has less time.
		Files: servertest.ProviderFiles, HTTPClient: &http.Client{Timeout: time.Second},
	})
	b := s.NewBrowser()
	c := s.NewClient(t, servertest.Host, nil)
	end := func(t *testing.T) (*servertest.Attempt, *url.URL) {
		t.Helper()
		a := c.Begin()
		return a, b.Walk(t, b.Open(t, a.URL()), c.RedirectURI)
	}
	oidc.SignInAs(servertest.Person)
	if a, at := end(t); at.Query().Get("code") == "" {
		t.Fatalf("%v", at)
	} else {
		t.Run("AS-FED-01 PKCE and nonce towards the provider", func(t *testing.T) {
			sent := oidc.Sent(oauthtest.Authorization)
			if sent.Get("code_challenge_method") != "S256" || len(sent.Get("nonce")) < 22 || len(sent.Get("state")) < 22 || sent.Get("redirect_uri") != "https://mcp.example.com/callback" {
				t.Errorf("%v", sent)
			}
			if sent.Get("state") == a.State() || sent.Get("code_challenge") == a.Params.Get("code_challenge") {
				t.Error("the client's values travel on")
			}
		})
	}
	for code, want := range map[string][2]string{
		"access_denied": {"access_denied", "provider_cancelled"}, "temporarily_unavailable": {"temporarily_unavailable", "provider_unavailable"},
		"server_error": {"server_error", "provider_rejected"}, "invalid_scope": {"server_error", "provider_rejected"}, "<script>": {"server_error", "provider_rejected"},
	} {
		t.Run("AS-FED-07 the provider says "+code, func(t *testing.T) {
			oidc.RefuseAuthorization(code)
			defer oidc.RefuseAuthorization("")
			a, at := end(t)
			servertest.ErrorAt(t, s, a, at, want[0], want[1])
		})
	}
	t.Run("AS-FED-07 the token endpoint says invalid_grant", func(t *testing.T) {
		oidc.RefuseToken("invalid_grant")
		defer oidc.RefuseToken("")
		a, at := end(t)
		servertest.ErrorAt(t, s, a, at, "server_error", "provider_rejected")
	})
	for _, fault := range []oauthtest.Fault{
		oauthtest.WrongNonce, oauthtest.NoNonce, oauthtest.WrongIssuer, oauthtest.WrongAudience, oauthtest.Expired, oauthtest.AlgNone, oauthtest.HS256,
		oauthtest.WrongKey, oauthtest.NoSubject, oauthtest.WrongResponseIssuer, oauthtest.NoResponseIssuer,
	} {
		t.Run("AS-FED-03 AS-FED-04 "+string(fault), func(t *testing.T) {
			oidc.Commit(fault)
			defer oidc.Commit(oauthtest.None)
			a, at := end(t)
			servertest.ErrorAt(t, s, a, at, "server_error", "provider_rejected")
		})
	}
	for name, who := range map[string]struct {
		user   oauthtest.User
		reason string
	}{
		"unverified e-mail":   {oauthtest.User{Subject: "1", Email: "jane@example.com"}, "no_verified_email"},
		"no e-mail":           {oauthtest.User{Subject: "1", EmailVerified: true}, "no_verified_email"},
		"another domain":      {oauthtest.User{Subject: "1", Email: "jane@example.org", EmailVerified: true}, "email_domain_not_allowed"},
		"a longer domain":     {oauthtest.User{Subject: "1", Email: "jane@example.com.evil.example", EmailVerified: true}, "email_domain_not_allowed"},
		"a sub-domain":        {oauthtest.User{Subject: "1", Email: "jane@x.example.com", EmailVerified: true}, "email_domain_not_allowed"},
		"two signs":           {oauthtest.User{Subject: "1", Email: "jane@example.com@evil.example", EmailVerified: true}, "email_domain_not_allowed"},
		"dot is not any sign": {oauthtest.User{Subject: "1", Email: "jane@exampleXcom", EmailVerified: true}, "email_domain_not_allowed"},
	} {
		t.Run("AS-FED-06 "+name, func(t *testing.T) {
			oidc.SignInAs(who.user)
			defer oidc.SignInAs(servertest.Person)
			a, at := end(t)
			servertest.ErrorAt(t, s, a, at, "access_denied", who.reason)
		})
	}
	for _, breakage := range []oauthtest.Breakage{oauthtest.Hang, oauthtest.Trickle, oauthtest.Huge, oauthtest.Garbage, oauthtest.Status500, oauthtest.Status503, oauthtest.Redirect} {
		t.Run("token endpoint "+string(breakage), func(t *testing.T) {
			oidc.Break(oauthtest.Token, breakage)
			defer oidc.Break(oauthtest.Token, oauthtest.Works)
			began := time.Now()
			_, at := end(t)
			if q := at.Query(); q.Get("error") != "temporarily_unavailable" && q.Get("error") != "server_error" && q.Get("error") != "access_denied" {
				t.Errorf("%v", q)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if oidc.Count(oauthtest.Elsewhere) != 0 {
				t.Error("ATK-46 ATK-58 a redirect of the provider was followed")
			}
		})
	}
	t.Run("AS-FED-05 a changed e-mail address keeps the subject, a reused one does not take over", func(t *testing.T) {
		subjectOf := func(u oauthtest.User) string {
			oidc.SignInAs(u)
			defer oidc.SignInAs(servertest.Person)
			token := c.AccessToken(t, b)
			return s.MustPass(t, servertest.Resource, token).Header.Get("X-Auth-Request-User")
		}
		one := subjectOf(oauthtest.User{Subject: "s1", Email: "a@example.com", EmailVerified: true})
		if renamed := subjectOf(oauthtest.User{Subject: "s1", Email: "b@example.com", EmailVerified: true}); renamed != one {
			t.Errorf("%s became %s", one, renamed)
		}
		if reused := subjectOf(oauthtest.User{Subject: "s2", Email: "a@example.com", EmailVerified: true}); reused == one {
			t.Errorf("somebody else is %s too", reused)
		}
	})
}

func TestCallback(t *testing.T) {
	t.Parallel()
	s, oidc := servertest.Quick(t)
	c := s.NewClient(t, servertest.Host, nil)
	// away is a browser that has been sent back by the provider but not yet arrived.
	away := func(t *testing.T) (*servertest.Browser, *servertest.Attempt, string) {
		t.Helper()
		b, a := s.NewBrowser(), c.Begin()
		page := b.Open(t, b.Open(t, a.URL()).Location())
		if !strings.HasPrefix(page.Location(), "https://mcp.example.com/callback?") {
			t.Fatalf("%d %s", page.Status, page.Location())
		}
		return b, a, page.Location()
	}
	refusedAs := func(t *testing.T, page *servertest.Page, reason string) {
		t.Helper()
		if page.Status != 403 || page.Location() != "" || s.Log.Last(audit.LoginRefused)["reason"] != reason {
			t.Errorf("status %d to %q, audit %v; want 403, %q", page.Status, page.Location(), s.Log.Last(audit.LoginRefused), "")
		}
		servertest.CheckPage(t, page)
	}
	t.Run("AS-FED-02 AS-FED-11 ATK-13 ATK-18 another browser", func(t *testing.T) {
		b, a, callback := away(t)
		tokens := oidc.Count(oauthtest.Token)
		refusedAs(t, s.NewBrowser().Open(t, callback), "other_browser")
		other, _, _ := away(t) // a browser with a sign-in of its own
		refusedAs(t, other.Open(t, callback), "other_browser")
		if oidc.Count(oauthtest.Token) != tokens {
			t.Error("the code went to the provider")
		}
		a.Accept(t, b.Walk(t, b.Open(t, callback), c.RedirectURI))
	})
	t.Run("AS-FED-02 ATK-35 replayed, with cookies that a thief kept", func(t *testing.T) {
		b, _, callback := away(t)
		kept := b.Cookies(servertest.Host)
		b.Open(t, callback)
		for _, cookie := range b.Cookies(servertest.Host) {
			if strings.Contains(cookie.Name, "mcp-login") {
				t.Errorf("the login's cookie remains: %v", cookie)
			}
		}
		gone := b.Open(t, callback)
		refusedAs(t, gone, "used_twice")
		if text := gone.Text(); !strings.Contains(text, "You have already signed in") {
			t.Errorf("going back after a sign-in says %q", text)
		}
		for _, cookie := range kept {
			b.SetCookie(servertest.Host, cookie)
		}
		refusedAs(t, b.Open(t, callback), "used_twice")
	})
	t.Run("AS-FED-02 20 at once, one success", func(t *testing.T) {
		b, _, callback := away(t)
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes, refusals := 0, 0
		for range 20 {
			req := servertest.Request(t, "GET", callback, "")
			for _, cookie := range b.Cookies(servertest.Host) {
				req.AddCookie(cookie)
			}
			wg.Go(func() {
				got, err := s.TrySend(req)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && strings.Contains(got.Header.Get("Location"), "code=") {
					codes++
				} else if err == nil && got.Status == 403 {
					refusals++
				}
			})
		}
		wg.Wait()
		if codes != 1 || refusals != 19 {
			t.Errorf("%d codes, %d refusals; want 1, 19", codes, refusals)
		}
	})
	t.Run("AS-FED-02 too late", func(t *testing.T) {
		b, _, callback := away(t)
		s.Clock.Advance(11 * time.Minute)
		defer s.Clock.Advance(-11 * time.Minute)
		refusedAs(t, b.Open(t, callback), "sign_in_expired")
	})
	t.Run("ATK-40 repeated parameters, no parameters", func(t *testing.T) {
		b, _, callback := away(t)
		refusedAs(t, b.Open(t, callback+"&state=x"), "malformed_callback")
		refusedAs(t, b.Open(t, callback+"&code=x"), "malformed_callback")
		refusedAs(t, b.Open(t, callback+"&a;b"), "malformed_callback")
		for _, query := range []string{"", "?code=x", "?state=", "?state=" + strings.Repeat("A", 26), "?state=" + strings.Repeat("é", 13), "?error=access_denied"} {
			refusedAs(t, b.Open(t, "https://mcp.example.com/callback"+query), "other_browser")
		}
	})
	t.Run("ATK-50 ATK-62 cookies that were touched", func(t *testing.T) {
		for name, touch := range map[string]func(v string) string{
			"flipped": func(v string) string {
				other := "A"
				if v[20:21] == other {
					other = "B"
				}
				return v[:20] + other + v[21:]
			},
			"cut":      func(v string) string { return v[:len(v)-1] },
			"no count": func(v string) string { return v[2:] },
			"more":     func(v string) string { return "3" + v[1:] },
			"huge":     func(v string) string { return "999999999" + v[1:] },
			"negative": func(v string) string { return "-1" + v[1:] },
		} {
			b, _, callback := away(t)
			for _, cookie := range b.Cookies(servertest.Host) {
				changed := *cookie
				changed.Value = touch(cookie.Value)
				b.SetCookie(servertest.Host, &changed)
			}
			t.Run(name, func(t *testing.T) { refusedAs(t, b.Open(t, callback), "other_browser") })
		}
		b, _, callback := away(t)
		req := servertest.Request(t, "GET", callback, "")
		req.AddCookie(b.Cookies(servertest.Host)[0])
		refusedAs(t, b.Send(t, req), "other_browser") // the same cookie twice
	})
	t.Run("AS-CONS-12 the cookie", func(t *testing.T) {
		b := s.NewBrowser()
		for _, cookie := range b.Open(t, c.Begin().URL()).Header["Set-Cookie"] {
			if !strings.HasPrefix(cookie, "__Host-mcp-login-") || !strings.HasSuffix(cookie, "; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax") {
				t.Errorf("%s", cookie)
			}
		}
	})
	t.Run("AS-AUTHZ-25 ATK-58 redirects", func(t *testing.T) {
		b, _, callback := away(t)
		page := b.Open(t, callback)
		if page.Status != 303 || page.Header.Get("Cache-Control") != "no-store" || page.Header.Get("Referrer-Policy") != "no-referrer" || page.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("status %d, want 303: %v", page.Status, page.Header)
		}
	})
	t.Run("two sign-ins at once in one browser", func(t *testing.T) {
		b, one, two := s.NewBrowser(), c.Begin(), c.Begin()
		first, second := b.Open(t, one.URL()), b.Open(t, two.URL())
		two.Accept(t, b.Walk(t, second, c.RedirectURI))
		one.Accept(t, b.Walk(t, first, c.RedirectURI))
	})
}

func TestGitHubPolicy(t *testing.T) {
	t.Parallel()
	github := oauthtest.NewGitHub(t)
	s := servertest.Start(t, servertest.Options{Edit: servertest.UseGitHub(github), Files: servertest.ProviderFiles})
	b := s.NewBrowser()
	c := s.NewClient(t, servertest.Host, nil)
	end := func() (*servertest.Attempt, *url.URL) {
		a := c.Begin()
		return a, b.Walk(t, b.Open(t, a.URL()), c.RedirectURI)
	}
	github.SignInAs(oauthtest.User{Subject: "99", Login: "jane", Email: "jane@example.com"})
	a, at := end()
	servertest.ErrorAt(t, s, a, at, "access_denied", "no_verified_email")
	github.SignInAs(servertest.Person)
	github.RefuseEmails(404)
	a, at = end()
	servertest.ErrorAt(t, s, a, at, "access_denied", "no_verified_email")
}

// rawServer is an MCP server of the older kind, written out by hand: it lists
// one tool and these scopes.
func rawServer(t *testing.T, scopes any) string {
	t.Helper()
	list, err := json.Marshal(map[string]any{
		"tools": []any{map[string]any{"name": "tool", "inputSchema": map[string]any{"type": "object"}}}, "_meta": map[string]any{"scopes": scopes},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&call) != nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch call.Method {
		case "initialize":
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"raw","version":"1"}}}`, call.ID)
		case "notifications/initialized":
			w.WriteHeader(http.StatusAccepted)
		case "tools/list":
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, call.ID, list)
		default:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"unknown method"}}`, call.ID)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestMCPServerMisbehaves(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(oauthtest.User{
		Subject: strings.Repeat("s", 255), Email: strings.Repeat("e", 200) + "@" + strings.Repeat("d", 40) + ".example", EmailVerified: true,
		Name: strings.Repeat("é", 128), Groups: manyGroups(200),
	})
	hang := make(chan struct{})
	handlers := map[string]string{}
	for name, h := range map[string]http.HandlerFunc{
		"hangs": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
		"HTML": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<h1>hello</h1>")
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, oidc.URL+"/elsewhere", http.StatusTemporaryRedirect)
		},
		"401": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
	} {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		handlers[name] = srv.URL
	}
	t.Cleanup(func() { close(hang) }) // before the servers wait for their handlers
	scopes := func(n, length int, pad string) []any {
		var out []any
		for i := range n {
			name := fmt.Sprintf("s%04d", i)
			out = append(out, map[string]any{"name": name + strings.Repeat(pad, length-len(name)), "description": strings.Repeat("<b>d", 500), "tools": []string{"tool"}})
		}
		return out
	}
	handlers["thousand short scopes"] = rawServer(t, scopes(1000, 6, "x"))
	handlers["thousand long scopes"] = rawServer(t, scopes(1000, 128, "x"))
	handlers["scopes that escape badly"] = rawServer(t, scopes(100, 100, "&"))
	for _, consent := range []bool{true, false} {
		for name, endpoint := range handlers {
			t.Run(fmt.Sprintf("AS-CONS-16 ATK-61 UP-12 %s, consent %t", name, consent), func(t *testing.T) {
				t.Parallel()
				s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(oidc), func(f *config.File) {
					f.Proxy.Hosts[0].Endpoint = endpoint + "/mcp"
					if !consent {
						servertest.WithoutConsent(f)
					}
				})})
				b := s.NewBrowser()
				// The longest client id that registration gives out.
				c := s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": longName(600), "redirect_uris": []string{servertest.RedirectURI}})
				a := c.Begin().With("state", strings.Repeat("s", 4096))
				began := time.Now()
				page := b.Open(t, a.URL())
				if took := time.Since(began); took > 8*time.Second {
					t.Errorf("the page took %v", took)
				}
				if len(page.Body) > 1<<20 {
					t.Errorf("the page has %d bytes", len(page.Body))
				}
				answer := a.Exchange(t, a.Accept(t, b.Walk(t, page, c.RedirectURI)))
				token := answer.String("access_token")
				if answer.Status != 200 || len(token) == 0 || len(token) > 4096 {
					t.Fatalf("AS-TOK-15 %d, token of %d bytes: %.200s", answer.Status, len(token), answer.Body)
				}
				header := s.MustPass(t, servertest.Resource, token).Header
				size := 0
				for k, vs := range header {
					for _, v := range vs {
						size += len(k) + len(v) + 4
					}
				}
				if size > 4000 {
					t.Errorf("the answer's headers have %d bytes", size)
				}
				challenge := s.Ask(t, servertest.Resource, "").Header.Get("WWW-Authenticate")
				if len(challenge) > 2048 || !strings.HasPrefix(challenge, "Bearer ") {
					t.Errorf("RS-ERR-09 the challenge has %d bytes", len(challenge))
				}
				if slices.Contains([]string{"hangs", "HTML", "redirect", "401"}, name) && answer.String("scope") != "mcp:all" {
					t.Logf("granted %q", answer.String("scope"))
				}
				if oidc.Count(oauthtest.Elsewhere) != 0 {
					t.Error("UP-12 a redirect of the MCP server was followed")
				}
			})
		}
	}
}

func manyGroups(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("group-%d-%s", i, strings.Repeat("g", 200)))
	}
	return out
}

// longName is hard to compress.
func longName(bytes int) string {
	var b strings.Builder
	for i := uint64(1); b.Len() < bytes; i = i*6364136223846793005 + 1442695040888963407 {
		b.WriteByte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"[i>>58])
	}
	return b.String()
}
