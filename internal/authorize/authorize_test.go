package authorize_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

func TestUnknownHost(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	paths := []string{
		"/authorize", "/callback", "/login", "/openid/v1/jwks", "/.well-known/oauth-authorization-server",
		"/.well-known/openid-configuration", "/.well-known/oauth-protected-resource/mcp", "/mcp/.well-known/openid-configuration", "/", "/anything",
	}
	for _, host := range []string{"evil.example", "mcp.example.com.evil.example", "mcp.example.com:8443", "127.0.0.1", "xmcp.example.com"} {
		for _, path := range paths {
			a := s.Send(t, servertest.Request(t, "GET", "https://"+host+path, "", "X-Forwarded-Host", servertest.Host, "Forwarded", "host="+servertest.Host))
			if a.Status != http.StatusMisdirectedRequest || strings.Contains(a.Body, host) || a.Header.Get("Location") != "" {
				t.Errorf("RS-FWD-08 ATK-29 %s%s: %d %s", host, path, a.Status, a.Body)
			}
		}
		for _, path := range []string{"/token", "/register", "/consent"} {
			if a := s.Send(t, servertest.Request(t, "POST", "https://"+host+path, "")); a.Status != http.StatusMisdirectedRequest {
				t.Errorf("RS-FWD-08 ATK-29 POST %s%s: %d", host, path, a.Status)
			}
		}
	}
	for _, host := range []string{"MCP.Example.COM", "mcp.example.com:443", "mcp.example.com."} {
		if a := s.Get(t, "https://"+host+"/.well-known/oauth-authorization-server"); a.Status != 200 || a.String("issuer") != "https://mcp.example.com" {
			t.Errorf("RS-FWD-08 %s: %d %s", host, a.Status, a.Body)
		}
	}
	t.Run("ATK-29 forwarded headers change nothing", func(t *testing.T) {
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp"} {
			want := s.Get(t, "https://mcp.example.com"+path)
			got := s.Send(t, servertest.Request(t, "GET", "https://mcp.example.com"+path, "",
				"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http", "Forwarded", "host=evil.example;proto=http", "MCP-Protocol-Version", "2025-03-26"))
			if got.Status != 200 || got.Body != want.Body {
				t.Errorf("%s: %d %s", path, got.Status, got.Body)
			}
		}
	})
}

// refused expects an error page that leads nowhere.
func refused(t *testing.T, s *servertest.Service, page *servertest.Page, reason string) {
	t.Helper()
	if page.Status < 400 || page.Status > 499 || page.Location() != "" || page.Form != nil {
		t.Errorf("%s: %d to %q", page.URL.RawQuery, page.Status, page.Location())
	}
	if e := s.Log.Last(audit.AuthorizeRefused); e["reason"] != reason {
		t.Errorf("%s: audit says %q, want %q", page.URL.RawQuery, e["reason"], reason)
	}
	servertest.CheckPage(t, page)
}

func TestAuthorizeRefusesWithoutRedirect(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	b := s.NewBrowser()
	c := s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{"https://app.example.org/cb?x=1", "https://app.example.org/other"}})
	one := s.NewClient(t, servertest.Host, nil)

	t.Run("AS-AUTHZ-03 unknown or malformed client", func(t *testing.T) {
		flipped := "dcr1.A" + one.ID[6:]
		for _, id := range []string{"nobody", "dcr1.", "dcr1.AAAA", "dcr1." + strings.Repeat("A", 5000), one.ID + "A", one.ID[:len(one.ID)-1], one.ID + "\n", one.ID + "=", flipped, "https://evil.example/client.json?" + strings.Repeat("x", 3000), "\x00", "é"} {
			refused(t, s, b.Open(t, one.Begin().With("client_id", id).URL()), "unknown_client")
		}
		refused(t, s, b.Open(t, one.Begin().With("client_id").URL()), "client_id_missing")
		refused(t, s, b.Open(t, one.Begin().With("client_id", "").URL()), "client_id_missing")
	})
	t.Run("AS-AUTHZ-04 AS-AUTHZ-07 ATK-05 to ATK-11 redirect URIs that are nearly the registered one", func(t *testing.T) {
		for _, u := range []string{
			"https://app.example.org/cb", "https://app.example.org/cb?x=1&y=2", "https://app.example.org/cb?x=1&", "https://app.example.org/cb?X=1",
			"https://app.example.org/CB?x=1", "https://APP.example.org/cb?x=1", "HTTPS://app.example.org/cb?x=1", "https://app.example.org/other/",
			"https://app.example.org:443/other", "https://app.example.org:8443/other", "https://app.example.org./other", "http://app.example.org/other",
			"https://app.example.org@evil.example/other", "https://good@app.example.org/other", `https://app.example.org\@evil.example/other`,
			"https://app.example.org%40evil.example/other", "https://app.example.org/other#", "https://app.example.org/other#x", "https://app.example.org/other%23",
			"https://app.example.org/other?", "https://app.example.org/other;x", "https://app.example.org/cb/../other", "https://app.example.org/%2e%2e/other",
			"https://app.example.org//other", "https://app.example.org/other%2f", "https://app.example.org.evil.example/other", "https://evilapp.example.org/other",
			"https://app。example.org/other", "//app.example.org/other", "/other", "javascript:alert(1)//https://app.example.org/other", " https://app.example.org/other",
			"https://app.example.org/other\r\nX: y", "data:text/html,x", "*", "https://app.example.org/other\x00", "https://app.example.org/" + strings.Repeat("x", 3000),
		} {
			page := b.Open(t, c.Begin().With("redirect_uri", u).URL())
			refused(t, s, page, "redirect_uri_mismatch")
			if len(page.Links) > 0 {
				t.Errorf("%q is linked", page.Links)
			}
		}
		if e := s.Log.Last(audit.AuthorizeRefused); !strings.Contains(e["cause"], "redirect_uri") {
			t.Errorf("the operator is not told which: %v", e)
		}
		refused(t, s, b.Open(t, c.Begin().With("redirect_uri").URL()), "redirect_uri_missing")
	})
	t.Run("AS-AUTHZ-05 the only redirect URI may be left out", func(t *testing.T) {
		b.Consent(t, one.Begin().With("redirect_uri").URL())
	})
	t.Run("AS-AUTHZ-09 the URI's own query is kept", func(t *testing.T) {
		at := b.Walk(t, b.Open(t, c.Begin().URL()), c.RedirectURI+"&")
		if at.Query().Get("x") != "1" || at.Query().Get("code") == "" {
			t.Errorf("%v", at.Query())
		}
	})
	t.Run("AS-AUTHZ-02 repeated identity", func(t *testing.T) {
		refused(t, s, b.Open(t, one.Begin().With("client_id", one.ID, one.ID).URL()), "duplicate_parameter")
		refused(t, s, b.Open(t, one.Begin().With("redirect_uri", one.RedirectURI, one.RedirectURI).URL()), "duplicate_parameter")
	})
	t.Run("AS-AUTHZ-27 ATK-37 ATK-40 size and syntax of the query", func(t *testing.T) {
		refused(t, s, b.Open(t, one.Begin().With("x", strings.Repeat("x", 17<<10)).URL()), "query_too_long")
		refused(t, s, b.Open(t, one.Begin().URL()+"&a;b=1"), "malformed_query")
		refused(t, s, b.Open(t, one.Begin().URL()+"&%zz"), "malformed_query")
	})
	t.Run("AS-AUTHZ-01 methods", func(t *testing.T) {
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "POST"} {
			a := s.Send(t, servertest.Request(t, method, one.Begin().URL(), ""))
			if a.Status != 405 || a.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %d %v", method, a.Status, a.Header)
			}
		}
		if a := s.Send(t, servertest.Request(t, "HEAD", one.Begin().URL(), "")); a.Status != 200 || a.Body != "" {
			t.Errorf("HEAD: status %d, want 200", a.Status)
		}
		b.Consent(t, one.Begin().With("nonce", "").With("unknown", "x").URL())
	})
}

// toClient expects an error that a self-registered client gets only by the
// person's click (AS-AUTHZ-06).
func toClient(t *testing.T, s *servertest.Service, page *servertest.Page, a *servertest.Attempt, code string) {
	t.Helper()
	if page.Status != 400 || page.Location() != "" || len(page.Links) != 1 {
		t.Errorf("%s: %d to %q, links %q", page.URL.RawQuery, page.Status, page.Location(), page.Links)
		return
	}
	servertest.CheckPage(t, page)
	to, err := url.Parse(page.Links[0])
	if err != nil || !strings.HasPrefix(page.Links[0], a.Client.RedirectURI+"?") {
		t.Errorf("the way back is %s", page.Links[0])
		return
	}
	q := to.Query()
	if q.Get("error") != code || q.Get("state") != a.State() || q.Get("iss") != "https://mcp.example.com" || q.Has("code") {
		t.Errorf("%s: the client would get %v, want %s", page.URL.RawQuery, q, code)
	}
	for _, c := range q.Get("error_description") { // RFC 6749, section 4.1.2.1
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			t.Errorf("error_description has %q", c)
		}
	}
	if e := s.Log.Last(audit.AuthorizeRefused); e["reason"] == "" || e["reason"] == "server_error" {
		t.Errorf("audit says %v", e)
	}
}

func TestAuthorizeTellsTheClient(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	b := s.NewBrowser()
	c := s.NewClient(t, servertest.Host, nil)
	const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	for _, row := range []struct {
		id, name string
		values   []string
		code     string
	}{
		{"AS-AUTHZ-02 repeated parameter", "scope", []string{"profile", "profile"}, "invalid_request"},
		{"AS-AUTHZ-02 repeated unknown parameter", "foo", []string{"1", "2"}, "invalid_request"},
		{"AS-AUTHZ-10 missing", "response_type", nil, "invalid_request"},
		{"AS-AUTHZ-10 implicit", "response_type", []string{"token"}, "unsupported_response_type"},
		{"AS-AUTHZ-10 hybrid", "response_type", []string{"code id_token"}, "unsupported_response_type"},
		{"AS-AUTHZ-11", "response_mode", []string{"fragment"}, "invalid_request"},
		{"AS-AUTHZ-11", "response_mode", []string{"form_post"}, "invalid_request"},
		{"AS-AUTHZ-23", "request", []string{"eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"},
		{"AS-AUTHZ-23", "request_uri", []string{"http://169.254.169.254/"}, "request_uri_not_supported"},
		{"AS-AUTHZ-12 ATK-03 no challenge", "code_challenge", nil, "invalid_request"},
		{"AS-AUTHZ-12 ATK-04 plain", "code_challenge_method", []string{"plain"}, "invalid_request"},
		{"AS-AUTHZ-12 ATK-04 no method", "code_challenge_method", nil, "invalid_request"},
		{"AS-AUTHZ-12 ATK-04 lower case", "code_challenge_method", []string{"s256"}, "invalid_request"},
		{"AS-AUTHZ-12 short", "code_challenge", []string{challenge[:42]}, "invalid_request"},
		{"AS-AUTHZ-12 long", "code_challenge", []string{challenge + "A"}, "invalid_request"},
		{"AS-AUTHZ-12 padded", "code_challenge", []string{challenge + "="}, "invalid_request"},
		{"AS-AUTHZ-12 alphabet", "code_challenge", []string{"+" + challenge[1:]}, "invalid_request"},
		{"AS-AUTHZ-12 not canonical", "code_challenge", []string{challenge[:42] + "N"}, "invalid_request"},
		{"AS-AUTHZ-15 relative", "resource", []string{"/mcp"}, "invalid_target"},
		{"AS-AUTHZ-15 no scheme", "resource", []string{"mcp.example.com/mcp"}, "invalid_target"},
		{"AS-AUTHZ-15 fragment", "resource", []string{"https://mcp.example.com/mcp#f"}, "invalid_target"},
		{"AS-AUTHZ-15 another host", "resource", []string{"https://evil.example/mcp"}, "invalid_target"},
		{"AS-AUTHZ-15 userinfo", "resource", []string{"https://x@mcp.example.com/mcp"}, "invalid_target"},
		{"AS-AUTHZ-15 http", "resource", []string{"http://mcp.example.com/mcp"}, "invalid_target"},
		{"AS-AUTHZ-15 sibling path", "resource", []string{"https://mcp.example.com/mcp2"}, "invalid_target"},
		{"AS-AUTHZ-15 dot segments", "resource", []string{"https://mcp.example.com/x/../mcp"}, "invalid_target"},
		{"AS-AUTHZ-18 two", "resource", []string{"https://mcp.example.com/mcp", "https://evil.example/"}, "invalid_target"},
		{"AS-AUTHZ-20 syntax", "scope", []string{"profile\x01"}, "invalid_scope"},
		{"AS-AUTHZ-20 quote", "scope", []string{`"profile"`}, "invalid_scope"},
		{"AS-AUTHZ-27 long scope", "scope", []string{strings.Repeat("x ", 3000)}, "invalid_scope"},
		{"AS-AUTHZ-22 none", "prompt", []string{"none"}, "interaction_required"},
		{"AS-AUTHZ-22 none with another", "prompt", []string{"login none"}, "invalid_request"},
		{"AS-AUTHZ-22 none with another", "prompt", []string{"none consent"}, "invalid_request"},
	} {
		t.Run(fmt.Sprintf("%s %s=%.30q", row.id, row.name, row.values), func(t *testing.T) {
			a := c.Begin().With(row.name, row.values...)
			toClient(t, s, b.Open(t, a.URL()), a, row.code)
		})
	}
	t.Run("AS-AUTHZ-27 state too long", func(t *testing.T) {
		page := b.Open(t, c.Begin().With("state", strings.Repeat("s", 4097)).URL())
		if page.Status != 400 || page.Location() != "" || strings.Contains(page.Body, "ssssssss") {
			t.Errorf("status %d %s; want 400, %q", page.Status, page.Location(), "")
		}
	})
	t.Run("AS-AUTHZ-20 AS-AUTHZ-21 scopes that are offered", func(t *testing.T) {
		all := []string{"notes:read", "notes:write", "weather:read", "profile"}
		harmless := []string{"notes:read", "weather:read", "profile"} // what can delete is ticked only where the app names it
		for scope, want := range map[string][]string{
			"":                                 harmless,
			"offline_access":                   harmless,
			"profile openid email":             {"profile"},
			"openid email address":             harmless,
			"admin root":                       harmless,
			strings.Join(all, " "):             all,
			"profile offline_access admin":     {"profile"},
			"notes:write  profile notes:write": {"notes:write", "profile"},
		} {
			page := b.Consent(t, c.Begin().With("scope", scope).URL())
			if got := page.Form.Values["scope"]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("scope %q ticks %v, want %v", scope, got, want)
			}
			if len(page.Form.Offered) != len(all) {
				t.Errorf("scope %q: the page has %v", scope, page.Form.Offered)
			}
		}
	})
	t.Run("AS-AUTHZ-08 ATK-10 loopback ports are free, nothing else is", func(t *testing.T) {
		c := s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{"http://localhost/callback", "http://127.0.0.1:33418/cb", "http://[::1]/cb"}})
		for _, u := range []string{"http://localhost:53682/callback", "http://localhost/callback", "http://127.0.0.1:1/cb", "http://127.0.0.1/cb", "http://[::1]:8080/cb"} {
			page := b.Consent(t, c.Begin().With("redirect_uri", u).URL())
			if !strings.Contains(page.Body, html.EscapeString(u)) {
				t.Errorf("AS-CONS-05 the page does not show %s", u)
			}
		}
		for _, u := range []string{
			"http://127.0.0.1:53682/callback", "http://localhost:53682/cb", "http://localhost:53682/callback/", "http://localhost:/callback", "http://localhost:0/callback",
			"http://localhost:99999/callback", "http://localhost.evil.example/callback", "http://localhost:80@evil.example/callback", "http://127.1/cb", "http://2130706433/cb",
			"http://0x7f.0.0.1/cb", "http://0.0.0.0/cb", "http://[::ffff:127.0.0.1]/cb", "http://127.0.0.1.evil.example/cb", "https://localhost/callback", "http://LOCALHOST/callback",
		} {
			refused(t, s, b.Open(t, c.Begin().With("redirect_uri", u).URL()), "redirect_uri_mismatch")
		}
	})
}

func TestState(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{Edit: servertest.UseOIDC(oidc), Files: servertest.ProviderFiles})
	c := s.NewClient(t, servertest.Host, nil)
	for name, state := range map[string]string{
		"text":        `a+b %&=é"<`,
		"URL":         "https://evil.example/?a=b&c=d#e",
		"brackets":    strings.Repeat("<&>", 1000),
		"4096 bytes":  strings.Repeat("Az09-._~", 512),
		"ampersands":  strings.Repeat("&", 4096),
		"markup":      `"><script>alert(1)</script>`,
		"line breaks": "\u2028\u2029",
	} {
		t.Run("AS-AUTHZ-13 ATK-38 "+name, func(t *testing.T) {
			b := s.NewBrowser()
			a := c.Begin().With("state", state)
			page := b.Consent(t, a.URL())
			if strings.Contains(page.Body, "<script") {
				t.Error("ATK-42 markup of the state is on the page")
			}
			page = b.Submit(t, page, "decision", "allow")
			cookies := 0
			for _, cookie := range b.Cookies(servertest.Host) {
				cookies += len(cookie.Name) + len(cookie.Value) + 3
			}
			if cookies > 8000 { // nginx: large_client_header_buffers 4 8k, a line has to fit one
				t.Errorf("the cookie header has %d bytes", cookies)
			}
			a.Accept(t, b.Walk(t, page, c.RedirectURI))
		})
	}
	t.Run("AS-AUTHZ-13 absent in, absent out", func(t *testing.T) {
		b := s.NewBrowser()
		for _, a := range []*servertest.Attempt{c.Begin().With("state"), c.Begin().With("state", "")} {
			if at := b.Walk(t, b.Open(t, a.URL()), c.RedirectURI); at.Query().Has("state") || !at.Query().Has("code") {
				t.Errorf("%v", at.Query())
			}
		}
	})
	t.Run("AS-AUTHZ-13 bytes that cannot travel are refused, not changed", func(t *testing.T) {
		b := s.NewBrowser()
		for _, state := range []string{"\xff\xfe", "a\r\nSet-Cookie: x=y", "a\x00b", strings.Repeat(`"`, 4096)} {
			page := b.Open(t, c.Begin().With("state", state).URL())
			if page.Status != 400 || page.Location() != "" || len(page.Header["Set-Cookie"]) > 0 {
				t.Errorf("%.20q: %d %v", state, page.Status, page.Header)
			}
		}
	})
}

func TestConsent(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{Edit: servertest.UseOIDC(oidc), Files: servertest.ProviderFiles})
	c := s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "Claude", "redirect_uris": []string{"http://127.0.0.1/cb"}})
	consentURL := "https://mcp.example.com/consent"
	answer := func(p *servertest.Page, scopes ...string) url.Values {
		return url.Values{"request": {p.Form.Values.Get("request")}, "decision": {"allow"}, "scope": scopes}
	}
	forbidden := func(t *testing.T, page *servertest.Page, reason string) {
		t.Helper()
		if page.Status != http.StatusForbidden || page.Location() != "" || len(page.Header["Set-Cookie"]) > 0 {
			t.Errorf("status %d to %q, cookies %q; want %v, %q", page.Status, page.Location(), page.Header["Set-Cookie"], http.StatusForbidden, "")
		}
		if e := s.Log.Last(audit.LoginRefused); e["reason"] != reason {
			t.Errorf("audit says %q, want %q", e["reason"], reason)
		}
		servertest.CheckPage(t, page)
	}

	t.Run("AS-CONS-01 AS-CONS-13 ATK-17 the page comes before the identity provider and sets no state", func(t *testing.T) {
		b := s.NewBrowser()
		for range 2 { // AS-CONS-11: also the second time
			page := b.Consent(t, c.Begin().URL())
			servertest.CheckPage(t, page)
			for _, cookie := range page.Header["Set-Cookie"] {
				if !strings.HasPrefix(cookie, "__Host-mcp-browser=") || !strings.Contains(cookie, "; Path=/; HttpOnly; Secure; SameSite=Lax") {
					t.Errorf("cookie %s", cookie)
				}
			}
		}
		if oidc.Count(oauthtest.Authorization) != 0 {
			t.Error("the identity provider was contacted")
		}
	})
	t.Run("AS-CONS-04 AS-CONS-05 AS-CONS-06 ATK-16 ATK-19 what the page shows", func(t *testing.T) {
		text := s.NewBrowser().Consent(t, c.Begin().With("redirect_uri", "http://127.0.0.1:5555/cb").URL()).Text()
		for _, want := range []string{"Claude", "127.0.0.1:5555", "http://127.0.0.1:5555/cb", "https://mcp.example.com/mcp", "Team notes", "notes:read", "See the titles and texts"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page does not say %q: %s", want, text)
			}
		}
	})
	t.Run("AS-CONS-07 ATK-14 answered once", func(t *testing.T) {
		b := s.NewBrowser()
		page := b.Consent(t, c.Begin().URL())
		if first := b.Submit(t, page, "decision", "allow"); first.Status != http.StatusSeeOther {
			t.Fatalf("status %d, want %v", first.Status, http.StatusSeeOther)
		}
		forbidden(t, b.Submit(t, page, "decision", "allow"), "used_twice")
		forbidden(t, b.Submit(t, page, "decision", "deny"), "used_twice")
	})
	t.Run("AS-CONS-07 ATK-14 from another origin", func(t *testing.T) {
		b := s.NewBrowser()
		page := b.Consent(t, c.Begin().URL())
		for _, header := range []map[string]string{
			{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.example.com"},
			{"Sec-Fetch-Site": "", "Origin": "null"}, {"Sec-Fetch-Site": "", "Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
		} {
			req := b.FormRequest(t, consentURL, answer(page, "profile"))
			for k, v := range header {
				if req.Header.Del(k); v != "" {
					req.Header.Set(k, v)
				}
			}
			forbidden(t, b.Send(t, req), "cross_site_form")
		}
		if b.Submit(t, page, "decision", "allow").Status != http.StatusSeeOther {
			t.Error("the real answer no longer counts")
		}
	})
	t.Run("AS-CONS-07 ATK-13 from another browser", func(t *testing.T) {
		page := s.NewBrowser().Consent(t, c.Begin().URL())
		attacker := s.NewBrowser()
		forbidden(t, attacker.Post(t, consentURL, answer(page, "profile")), "other_browser")
		attacker.Consent(t, c.Begin().URL()) // now it has a name of its own
		forbidden(t, attacker.Post(t, consentURL, answer(page, "profile")), "foreign_consent")
	})
	t.Run("ATK-50 a cookie that came twice", func(t *testing.T) {
		b := s.NewBrowser()
		page := b.Consent(t, c.Begin().URL())
		req := b.FormRequest(t, consentURL, answer(page, "profile"))
		req.AddCookie(&http.Cookie{Name: "__Host-mcp-browser", Value: strings.Repeat("A", 26)})
		forbidden(t, b.Send(t, req), "other_browser")
	})
	t.Run("ATK-62 forged, cut and foreign requests", func(t *testing.T) {
		b := s.NewBrowser()
		page := b.Consent(t, c.Begin().URL())
		sealed := page.Form.Values.Get("request")
		a := c.Begin()
		code := a.Code(t, b)
		for _, v := range []string{"", "x", sealed[1:], sealed[:len(sealed)-1], sealed + "A", sealed + "=", sealed + "\n", "\n" + sealed, c.ID, code} {
			forbidden(t, b.Post(t, consentURL, url.Values{"request": {v}, "decision": {"allow"}, "scope": {"profile"}}), "foreign_consent")
		}
	})
	t.Run("AS-CONS-15 ATK-54 forged extra scopes", func(t *testing.T) {
		b := s.NewBrowser()
		a := c.Begin().With("scope", "profile weather:read")
		page := b.Consent(t, a.URL())
		page = b.Post(t, consentURL, answer(page, "profile", "notes:write\x00", "admin", "profile", "mcp:all"))
		got := a.Exchange(t, a.Accept(t, b.Walk(t, page, "http://127.0.0.1/cb")))
		if got.String("scope") != "profile" {
			t.Errorf("granted %q, want %q", got.String("scope"), "profile")
		}
	})
	t.Run("no scope, no decision: the page again", func(t *testing.T) {
		b := s.NewBrowser()
		page := b.Consent(t, c.Begin().URL())
		for _, form := range []url.Values{answer(page), answer(page, "admin"), {"request": {page.Form.Values.Get("request")}, "decision": {"maybe"}, "scope": {"profile"}}} {
			if again := b.Post(t, consentURL, form); again.Status != 200 || again.Form == nil {
				t.Errorf("%v: %d", form["decision"], again.Status)
			}
		}
	})
	t.Run("AS-CONS-14 ATK-12 declined", func(t *testing.T) {
		b := s.NewBrowser()
		before := oidc.Count(oauthtest.Authorization)
		a := c.Begin()
		page := b.Submit(t, b.Consent(t, a.URL()), "decision", "deny")
		if page.Status != 303 || !strings.HasPrefix(page.Location(), c.RedirectURI[:len("http://127.0.0.1")]) {
			t.Fatalf("a program on this computer goes on waiting: %d %s", page.Status, page.Location())
		}
		to, _ := url.Parse(page.Location())
		if q := to.Query(); q.Get("error") != "access_denied" || q.Get("state") != a.State() || q.Get("iss") != "https://mcp.example.com" {
			t.Errorf("%v", q)
		}
		if len(b.Cookies(servertest.Host)) != 2 || oidc.Count(oauthtest.Authorization) != before {
			t.Error("declining left something behind")
		}
	})
	t.Run("AS-CONS-14 declined, the app is elsewhere", func(t *testing.T) {
		b := s.NewBrowser()
		for _, uri := range []string{"https://app.example.org/callback", "cursor://anysphere.cursor-mcp/oauth/callback", "https://localhost.evil.example/cb"} {
			c := s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{uri}})
			a := c.Begin()
			page := b.Submit(t, b.Consent(t, a.URL()), "decision", "deny")
			if page.Status != 303 || !strings.HasPrefix(page.Location(), uri+"?") || page.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Fatalf("%s: %d %s", uri, page.Status, page.Location())
			}
			to, _ := url.Parse(page.Location())
			if q := to.Query(); q.Get("error") != "access_denied" || q.Get("state") != a.State() || q.Get("iss") != "https://mcp.example.com" {
				t.Errorf("%v", q)
			}
		}
	})
	t.Run("methods and media types", func(t *testing.T) {
		b := s.NewBrowser()
		page := b.Consent(t, c.Begin().URL())
		if p := b.Open(t, consentURL+"?"+answer(page, "profile").Encode()); p.Status != 405 {
			t.Errorf("ATK-14 GET: status %d, want 405", p.Status)
		}
		req := b.FormRequest(t, consentURL, answer(page, "profile"))
		req.Header.Set("Content-Type", "text/plain")
		forbidden(t, b.Send(t, req), "malformed_form")
		forbidden(t, b.Post(t, consentURL, url.Values{"request": {strings.Repeat("x", 1<<20)}}), "malformed_form")
	})
	t.Run("left open for too long", func(t *testing.T) {
		b := s.NewBrowser()
		page := b.Consent(t, c.Begin().URL())
		s.Clock.Advance(31 * time.Minute)
		forbidden(t, b.Submit(t, page, "decision", "allow"), "consent_expired")
	})
	t.Run("50 answers at once, one counts", func(t *testing.T) {
		b := s.NewBrowser()
		page := b.Consent(t, c.Begin().URL())
		var wg sync.WaitGroup
		var mu sync.Mutex
		statuses := map[int]int{}
		for range 50 {
			req := b.FormRequest(t, consentURL, answer(page, "profile"))
			wg.Go(func() {
				if p, err := b.TrySend(req); err == nil {
					mu.Lock()
					statuses[p.Status]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if statuses[303] != 1 || statuses[403] != 49 {
			t.Errorf("AS-CONS-07 %v", statuses)
		}
	})
}

func TestDeception(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	b := s.NewBrowser()
	for _, name := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, "Cl\u202eaude", "line\r\nSet-Cookie: a=b", strings.Repeat("N", 10_000), "javascript:alert(1)", "\x00\x01", strings.Repeat("e\u0301\u0302", 80),
	} {
		t.Run(fmt.Sprintf("ATK-41 ATK-42 client_name %.20q", name), func(t *testing.T) {
			a := s.Register(t, servertest.Host, servertest.Metadata{"client_name": name})
			if a.Status == 400 { // too long to be an id is a fair answer
				return
			}
			c := s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": name})
			page := b.Consent(t, c.Begin().URL())
			if strings.Contains(page.Body, "<script") || strings.Contains(page.Body, "<img src=x") || strings.ContainsAny(page.Body, "\u202e\x00\x01") || len(page.Body) > 64<<10 {
				t.Error("the name reached the page as it is")
			}
			if len(page.Header["Set-Cookie"]) > 1 {
				t.Error("the name reached the header")
			}
			login := b.Open(t, "https://mcp.example.com"+b.Submit(t, page, "decision", "allow").Location())
			if login.Status != 200 || strings.Contains(login.Body, "<script") || strings.ContainsAny(login.Body, "\u202e\x00") {
				t.Errorf("login page: status %d, want 200", login.Status)
			}
		})
	}
	t.Run("ATK-42 redirect URI on the error page", func(t *testing.T) {
		c := s.NewClient(t, servertest.Host, nil)
		page := b.Open(t, c.Begin().With("redirect_uri", `https://evil.example/"><script>alert(1)</script>`).URL())
		servertest.CheckPage(t, page)
		if !strings.Contains(page.Body, "evil.example") {
			t.Error("the person is not shown the address")
		}
	})
}

func TestPasswordLogin(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	c := s.NewClient(t, servertest.Host, nil)
	loginURL := "https://mcp.example.com/login"
	atLogin := func(t *testing.T, b *servertest.Browser, a *servertest.Attempt) *servertest.Page {
		t.Helper()
		page := b.Submit(t, b.Consent(t, a.URL()), "decision", "allow")
		page = b.Open(t, "https://mcp.example.com"+page.Location())
		if page.Status != 200 || !page.Form.Values.Has("password") {
			t.Fatalf("status %d, want 200: %s", page.Status, page.Text())
		}
		servertest.CheckPage(t, page)
		return page
	}
	t.Run("wrong password, then the right one", func(t *testing.T) {
		b := s.NewBrowser()
		a := c.Begin()
		page := atLogin(t, b, a)
		for _, who := range [][2]string{{servertest.Username, "wrong"}, {"nobody", servertest.Password}, {"", ""}, {servertest.Username, strings.Repeat("x", 100)}, {`"><script>`, "x"}} {
			b.Username, b.Password = who[0], who[1]
			page = b.Submit(t, page, "", "")
			if page.Status != 401 || page.Form == nil || strings.Contains(page.Body, "<script") {
				t.Fatalf("ATK-49 %q: %d", who, page.Status)
			}
			if e := s.Log.Last(audit.LoginRefused); e["reason"] != "wrong_password" {
				t.Errorf("audit says %v", e)
			}
		}
		b.Username, b.Password = servertest.Username, servertest.Password
		a.Accept(t, b.Walk(t, b.Submit(t, page, "", ""), c.RedirectURI))
	})
	t.Run("cross-site, other browser, replayed, expired, without a sign-in", func(t *testing.T) {
		b := s.NewBrowser()
		page := atLogin(t, b, c.Begin())
		form := url.Values{"state": page.Form.Values["state"], "username": {servertest.Username}, "password": {servertest.Password}}
		cross := b.FormRequest(t, loginURL, form)
		cross.Header.Set("Sec-Fetch-Site", "cross-site")
		null := b.FormRequest(t, loginURL, form)
		null.Header.Del("Sec-Fetch-Site")
		null.Header.Set("Origin", "null")
		for _, req := range []*http.Request{cross, null} {
			if p := b.Send(t, req); p.Status != 403 || s.Log.Last(audit.LoginRefused)["reason"] != "cross_site_form" {
				t.Errorf("ATK-13 cross-site: status %d, want 403", p.Status)
			}
		}
		if p := s.NewBrowser().Post(t, loginURL, form); p.Status != 403 || p.Location() != "" {
			t.Errorf("AS-FED-02 other browser: status %d, want 403", p.Status)
		}
		for _, p := range []*servertest.Page{b.Open(t, loginURL), b.Open(t, loginURL+"?state="+strings.Repeat("A", 26)), b.Open(t, "https://mcp.example.com/callback?code=x&state="+form.Get("state"))} {
			if p.Status != 403 || p.Location() != "" {
				t.Errorf("%s: %d", p.URL, p.Status)
			}
		}
		copyOfCookies := b.Cookies(servertest.Host)
		if p := b.Post(t, loginURL, form); p.Status != 303 {
			t.Fatalf("status %d, want 303", p.Status)
		}
		for _, cookie := range copyOfCookies { // the browser dropped them; a thief did not
			b.SetCookie(servertest.Host, cookie)
		}
		if p := b.Post(t, loginURL, form); p.Status != 403 || s.Log.Last(audit.LoginRefused)["reason"] != "used_twice" {
			t.Errorf("AS-FED-02 replayed: status %d, want 403", p.Status)
		}
		late := atLogin(t, b, c.Begin())
		s.Clock.Advance(11 * time.Minute)
		if p := b.Submit(t, late, "", ""); p.Status != 403 || p.Location() != "" {
			t.Errorf("expired: status %d, want 403", p.Status)
		}
	})
}

func TestDynamicRegistrationOff(t *testing.T) {
	t.Parallel()
	on := servertest.Start(t, servertest.Options{})
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Registration.Dynamic.Enabled = false }})
	if a := s.Register(t, servertest.Host, nil); a.Status != 404 {
		t.Errorf("AS-META-07 /register: status %d, want 404", a.Status)
	}
	if a := s.Get(t, "https://mcp.example.com/.well-known/oauth-authorization-server"); a.JSON["registration_endpoint"] != nil {
		t.Errorf("AS-META-12 %s", a.Body)
	}
	c := on.NewClient(t, servertest.Host, nil).On(s)
	refused(t, s, s.NewBrowser().Open(t, c.Begin().URL()), "unknown_client")
}
