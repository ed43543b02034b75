package session_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const (
	host   = "https://" + servertest.Host
	signIn = host + "/account/sign-in"
	cookie = "__Host-mcp-session"
)

// withPages is a service with pages at /ui and /admin.
func withPages(f *config.File) {
	f.Proxy.Hosts[0].Pages = []session.PageFile{{Path: "/ui"}, {Path: "/ui/api", Tokens: true}}
}

// look asks as a gateway of the forwarded dialect about a request of the browser.
func look(t *testing.T, b *servertest.Browser, method, path string, header ...string) *servertest.Answer {
	t.Helper()
	req := servertest.Request(t, http.MethodGet, host+"/authenticate/forwarded", "", header...)
	req.Header.Set("X-Forwarded-Method", method)
	req.Header.Set("X-Forwarded-Host", servertest.Host)
	req.Header.Set("X-Forwarded-Uri", path)
	for _, c := range b.Cookies(servertest.Host) {
		req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return b.Service.Send(t, req)
}

// open is a person who goes to a page.
func open(t *testing.T, b *servertest.Browser, path string) *servertest.Answer {
	t.Helper()
	return look(t, b, "GET", path, "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
}

// enter opens a page and signs in where that is asked for, and returns where the
// browser comes to.
func enter(t *testing.T, b *servertest.Browser, path string) string {
	t.Helper()
	a := open(t, b, path)
	if a.Status != http.StatusSeeOther {
		t.Fatalf("%s: %d %s", path, a.Status, a.Body)
	}
	return b.Walk(t, b.Open(t, a.Header.Get("Location")), host+"/ui").String()
}

func sessionOf(b *servertest.Browser) string {
	for _, c := range b.Cookies(servertest.Host) {
		if c.Name == cookie {
			return c.Value
		}
	}
	return ""
}

func TestPersonSignsInForAPage(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: withPages})
	b := s.NewBrowser()

	a := open(t, b, "/ui/notes?tag=a%20b&sort=1")
	want := signIn + "?" + url.Values{"rd": {"/ui/notes?tag=a%20b&sort=1"}}.Encode()
	if a.Status != http.StatusSeeOther || a.Header.Get("Location") != want {
		t.Fatalf("%d %q", a.Status, a.Header.Get("Location"))
	}
	if to := b.Walk(t, b.Open(t, want), host+"/ui").String(); to != host+"/ui/notes?tag=a%20b&sort=1" {
		t.Errorf("the deep link became %s", to)
	}
	a = open(t, b, "/ui/notes")
	if a.Status != http.StatusOK || a.Header.Get("X-Auth-Request-User") != "static:jane" || a.Header.Get("X-Auth-Request-Email") != servertest.Email {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	if e := s.Log.Last(audit.SessionBegun); e["subject"] != "static:jane" || e["client"] != "browser" || e["family"] == "" {
		t.Errorf("audit: %v", e)
	}

	t.Run("only people are sent to sign in", func(t *testing.T) {
		stranger := s.NewBrowser()
		for name, header := range map[string][]string{
			"an MCP client":         {"Accept", "application/json, text/event-stream"},
			"a client in Electron":  {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Electron/31", "Accept", "text/html"},
			"a script of the page":  {"Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "empty"},
			"a frame":               {"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "iframe"},
			"two modes":             {"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Mode", "navigate"},
			"a token of the server": {"Authorization", "Bearer x"},
		} {
			if a := look(t, stranger, "GET", "/ui", header...); a.Status != http.StatusUnauthorized || a.Header.Get("Location") != "" {
				t.Errorf("%s: %d %q", name, a.Status, a.Header.Get("Location"))
			}
		}
		if a := look(t, stranger, "POST", "/ui", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin"); a.Status != http.StatusUnauthorized {
			t.Errorf("a form: %d", a.Status)
		}
		nginx := s.Send(t, servertest.Request(t, "GET", host+"/authenticate", "", "X-Original-URL", host+"/ui?a=1", "X-Original-Method", "GET", "Sec-Fetch-Mode", "navigate"))
		if nginx.Status != http.StatusUnauthorized || nginx.Header.Get("Location") != signIn+"?rd=%2Fui%3Fa%3D1" {
			t.Errorf("nginx: %d %q", nginx.Status, nginx.Header.Get("Location"))
		}
	})
	t.Run("the MCP server stays as it is", func(t *testing.T) {
		for _, path := range []string{"/mcp", "/mcp/ui", "/mcp?x=/ui"} {
			a := open(t, b, path)
			if a.Status != http.StatusUnauthorized || a.Header.Get("Location") != "" || !strings.Contains(a.Header.Get("WWW-Authenticate"), "resource_metadata") {
				t.Errorf("%s with a session: %d %q %q", path, a.Status, a.Header.Get("Location"), a.Header.Get("WWW-Authenticate"))
			}
		}
		if a := s.Ask(t, servertest.Resource, sessionOf(b)); a.Status != http.StatusUnauthorized {
			t.Errorf("the cookie as a token: %d", a.Status)
		}
		if a := open(t, b, "/uix"); a.Status != http.StatusForbidden {
			t.Errorf("/uix: %d", a.Status)
		}
	})
}

func TestTokensAtPages(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(withPages, servertest.WithoutConsent)})
	b := s.NewBrowser()
	token := s.NewClient(t, servertest.Host, nil).AccessToken(t, b)
	if a := look(t, s.NewBrowser(), "GET", "/ui/api/x", "Authorization", "Bearer "+token); a.Status != http.StatusOK || a.Header.Get("X-Auth-Request-User") != "static:jane" {
		t.Errorf("a page that takes tokens: %d %s", a.Status, a.Body)
	}
	if a := look(t, s.NewBrowser(), "GET", "/ui/x", "Authorization", "Bearer "+token); a.Status != http.StatusUnauthorized {
		t.Errorf("a page that takes none: %d", a.Status)
	}
	enter(t, b, "/ui")
	if a := look(t, b, "GET", "/ui/api/x", "Authorization", "Bearer wrong"); a.Status != http.StatusUnauthorized {
		t.Errorf("a wrong token beside a session: %d", a.Status)
	}
}

// The address to come back to is of a page of this host, or there is none.
func TestReturnAddress(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: withPages})
	b := s.NewBrowser()
	for _, to := range []string{
		"//evil.example/ui", `/\evil.example/ui`, `\\evil.example`, "https://evil.example/ui", host + ".evil.example/ui", host + "@evil.example/ui", "/ui/../admin", "/ui/%2e%2e/x",
		"/mcp", "/", "/account", "/authorize", "javascript:alert(1)", "/ui\r\nSet-Cookie: x=y", "/ui/%0d%0aX: y", "ui", "/ui#x", "/ui\x00", "http://" + servertest.Host + "/ui", "/ui/" + strings.Repeat("x", 4000), "/UI",
	} {
		page := b.Open(t, signIn+"?"+url.Values{"rd": {to}}.Encode())
		if page.Status != http.StatusBadRequest || page.Location() != "" || len(page.Links) > 0 {
			t.Errorf("%q: %d %q", to, page.Status, page.Location())
		}
		servertest.CheckPage(t, page)
	}
	if page := b.Open(t, signIn+"?rd=/ui&rd=/ui/api"); page.Status != http.StatusBadRequest {
		t.Errorf("two addresses: %d", page.Status)
	}
	for _, to := range []string{"/ui", "/ui/", host + "/ui/a?b=//c", "/ui?next=https://evil.example/"} {
		if page := b.Open(t, signIn+"?"+url.Values{"rd": {to}}.Encode()); page.Location() == "" {
			t.Errorf("%q: %d", to, page.Status)
		}
	}
}

// What another site makes a browser send has no effect, whatever cookies come along.
func TestCrossSiteRequests(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: withPages})
	b := s.NewBrowser()
	enter(t, b, "/ui")
	for _, c := range []struct {
		name, method string
		want         int
		header       []string
	}{
		{"a form of the page", "POST", 200, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Origin", host}},
		{"a form of the page without a referrer", "POST", 200, []string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}},
		{"a script of the page", "DELETE", 200, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}},
		{"a form in an old browser", "POST", 200, []string{"Origin", host}},
		{"a link of another site", "GET", 200, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
		{"a bookmark", "GET", 200, []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
		{"a form of another site", "POST", 403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Origin", "https://evil.example"}},
		{"a form of a sibling", "POST", 403, []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Origin", "https://evil.example.com"}},
		{"a form of another site in an old browser", "POST", 403, []string{"Origin", "https://evil.example"}},
		{"a form without any word", "POST", 403, nil},
		{"a form of the null origin", "POST", 403, []string{"Origin", "null"}},
		{"a script of a sibling", "GET", 403, []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Origin", "https://evil.example.com"}},
		{"a WebSocket of a sibling", "GET", 403, []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "websocket", "Origin", "https://evil.example.com"}},
		{"a WebSocket in an old browser", "GET", 403, []string{"Origin", "https://evil.example.com"}},
		{"an image on another site", "GET", 403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}},
		{"a frame on another site", "GET", 403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}},
		{"two origins", "POST", 403, []string{"Origin", host, "Origin", "https://evil.example"}},
		{"two sites", "POST", 403, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}},
		{"a method that the gateway does not tell", "", 403, nil},
	} {
		if a := look(t, b, c.method, "/ui/x", c.header...); a.Status != c.want {
			t.Errorf("%s: %d, want %d", c.name, a.Status, c.want)
		}
	}
	if e := s.Log.Last(audit.AccessDenied); e["reason"] != "cross_site_request" {
		t.Errorf("audit: %v", e)
	}
}

// Cookies that were not made for this browser, host and use open nothing.
func TestForeignCookies(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(withPages, servertest.SecondHost, func(f *config.File) {
		f.Proxy.Hosts[1].Pages = []session.PageFile{{Path: "/ui"}}
		f.Proxy.Hosts[2].Pages = nil
	})})
	b := s.NewBrowser()
	enter(t, b, "/ui")
	good := sessionOf(b)
	with := func(cookies ...string) *servertest.Answer {
		return look(t, s.NewBrowser(), "GET", "/ui", "Cookie", strings.Join(cookies, "; "))
	}
	if a := with(cookie + "=" + good); a.Status != http.StatusOK {
		t.Fatalf("the cookie itself: %d", a.Status)
	}
	for name, cookies := range map[string][]string{
		"tossed twice":         {cookie + "=" + good, cookie + "=" + good},
		"without the prefix":   {"mcp-session=" + good},
		"changed":              {cookie + "=" + good[:len(good)-2] + "AA"},
		"cut":                  {cookie + "=" + good[:40]},
		"empty":                {cookie + "="},
		"another sealed value": {cookie + "=" + func() string { c := s.NewClient(t, servertest.Host, nil); return strings.TrimPrefix(c.ID, "dcr1.") }()},
	} {
		if a := with(cookies...); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, a.Status)
		}
	}
	req := servertest.Request(t, http.MethodGet, "https://other.example.com/authenticate/forwarded", "", "Cookie", cookie+"="+good, "X-Forwarded-Method", "GET", "X-Forwarded-Host", "other.example.com", "X-Forwarded-Uri", "/ui")
	if a := s.Send(t, req); a.Status != http.StatusUnauthorized {
		t.Errorf("at another host: %d", a.Status)
	}

	t.Run("fixation", func(t *testing.T) {
		victim := s.NewBrowser()
		victim.SetCookie(servertest.Host, &http.Cookie{Name: cookie, Value: good})
		page := victim.Open(t, signIn+"?rd=/ui&prompt=login")
		victim.Walk(t, page, host+"/ui")
		if sessionOf(victim) == good {
			t.Error("a sign-in keeps the session that the browser had")
		}
		if a := with(cookie + "=" + good); a.Status != http.StatusUnauthorized {
			t.Errorf("the session from before lives on: %d", a.Status)
		}
		if e := s.Log.Last(audit.SessionEnded); e["reason"] != "session_replaced" {
			t.Errorf("audit: %v", e)
		}
	})
	t.Run("login CSRF", func(t *testing.T) {
		attacker, victim := s.NewBrowser(), s.NewBrowser()
		login := attacker.Open(t, signIn+"?rd=/ui").Location()
		if p := victim.Open(t, host+strings.TrimPrefix(login, host)); p.Status != http.StatusForbidden || sessionOf(victim) != "" {
			t.Errorf("another person's sign-in goes on in this browser: %d", p.Status)
		}
	})
}

func TestSessionIsBounded(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: withPages})
	s.Clock.Freeze()
	b := s.NewBrowser()
	enter(t, b, "/ui")
	script := func() int {
		return look(t, b, "GET", "/ui/x", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty").Status
	}
	first := sessionOf(b)

	s.Clock.Advance(14 * time.Minute)
	if a := open(t, b, "/ui"); a.Status != http.StatusOK {
		t.Errorf("after 14 minutes: %d", a.Status)
	}
	s.Clock.Advance(2 * time.Minute)
	if script() != http.StatusOK {
		t.Error("a script is refused while the session is only due to be renewed")
	}
	if enter(t, b, "/ui/deep?x=1") != host+"/ui/deep?x=1" || sessionOf(b) == first {
		t.Error("a page that is opened in the second half renews nothing")
	}
	if e := s.Log.Last(audit.SessionRenewed); e["subject"] != "static:jane" {
		t.Errorf("the provider was not asked: %v", e)
	}
	if a := open(t, b, "/ui"); a.Status != http.StatusOK {
		t.Errorf("after it was renewed: %d", a.Status)
	}
	s.Clock.Advance(31 * time.Minute)
	if script() != http.StatusUnauthorized {
		t.Error("unused for 31 minutes and good")
	}

	enter(t, b, "/ui")
	for range 34 { // 8 h 30 min
		s.Clock.Advance(15 * time.Minute)
		if a := open(t, b, "/ui"); a.Status == http.StatusSeeOther {
			page := b.Open(t, a.Header.Get("Location"))
			if !strings.HasPrefix(page.Location(), host+"/ui") {
				return // to the login page: the session has ended
			}
		}
	}
	t.Error("the session does not end")
}

// A session that was renewed is used in another browser: one of the two is a thief's.
func TestStolenSession(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: withPages})
	s.Clock.Freeze()
	b, thief := s.NewBrowser(), s.NewBrowser()
	enter(t, b, "/ui")
	thief.SetCookie(servertest.Host, &http.Cookie{Name: cookie, Value: sessionOf(b)})
	s.Clock.Advance(16 * time.Minute)
	enter(t, b, "/ui")
	if again := enter(t, thief, "/ui"); again != host+"/ui" || open(t, b, "/ui").Status != http.StatusOK {
		t.Fatalf("within the grace: %s", again)
	}
	s.Clock.Advance(3 * time.Minute)
	stale := s.NewBrowser()
	for _, c := range b.Cookies(servertest.Host) {
		if c.Name == cookie {
			stale.SetCookie(servertest.Host, c)
		}
	}
	s.Clock.Advance(13 * time.Minute)
	enter(t, b, "/ui")
	s.Clock.Advance(3 * time.Minute)
	page := stale.Open(t, signIn+"?rd=/ui")
	if strings.HasPrefix(page.Location(), host+"/ui") {
		t.Error("a session that was renewed long ago is renewed again")
	}
	if e := s.Log.Last(audit.SessionEnded); e["reason"] != "session_reused" {
		t.Errorf("audit: %v", e)
	}
	if a := open(t, b, "/ui"); a.Status != http.StatusSeeOther {
		t.Errorf("the session goes on: %d", a.Status)
	}
}

func TestProviderIsAskedAgain(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Person)
	idp.GiveRefreshTokens(true)
	s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(idp), withPages)})
	s.Clock.Freeze()
	b := s.NewBrowser()
	enter(t, b, "/ui")
	s.Clock.Advance(16 * time.Minute)
	if open(t, b, "/ui").Status != http.StatusSeeOther {
		t.Fatal("not due")
	}
	page := b.Open(t, signIn+"?rd=/ui")
	if page.Location() != host+"/ui" {
		t.Fatalf("%d %s", page.Status, page.Location())
	}
	if e := s.Log.Last(audit.SessionRenewed); e["subject"] == "" {
		t.Error("the provider was not asked")
	}
	idp.Remove(servertest.Person.Subject)
	s.Clock.Advance(16 * time.Minute)
	page = b.Open(t, signIn+"?rd=/ui")
	if page.Status != http.StatusBadRequest && page.Status != http.StatusForbidden || page.Location() != "" {
		t.Errorf("a person who is gone: %d %s", page.Status, page.Location())
	}
	servertest.CheckPage(t, page)
	if sessionOf(b) != "" {
		t.Error("the browser keeps its session")
	}
	if e := s.Log.Last(audit.SessionEnded); e["reason"] != "user_gone" {
		t.Errorf("audit: %v", e)
	}
}

func TestDeniedPersonIsOut(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(withPages, func(f *config.File) {
		f.Policy.Rules = []rule.Rule{{Effect: "allow", Anyone: true, Scopes: []string{"notes:*"}}}
		f.Proxy.Hosts[0].Pages = append(f.Proxy.Hosts[0].Pages, session.PageFile{Path: "/admin", Scope: "admin"}, session.PageFile{Path: "/notes", Scope: "notes:read"})
	})})
	b := s.NewBrowser()
	enter(t, b, "/ui")
	for path, want := range map[string]int{"/ui": 200, "/notes": 200, "/admin": 403} {
		if a := open(t, b, path); a.Status != want {
			t.Errorf("%s: %d, want %d", path, a.Status, want)
		}
	}
	if e := s.Log.Last(audit.AccessDenied); e["reason"] != "not_allowed_by_policy" || e["subject"] != "static:jane" {
		t.Errorf("audit: %v", e)
	}
	if a := open(t, b, "/notes"); a.Header.Get("X-Auth-Request-Scope") != "notes:read" && a.Header.Get("X-Auth-Request-Scopes") != "notes:read" {
		t.Logf("headers: %v", a.Header)
	}
}

// A person whom the rules keep out of a page reads so, in their language: which account
// it is, what to quote, and how to go on with another one. Programs get the status.
func TestRefusedAtAPage(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(withPages, func(f *config.File) {
		f.Policy.Rules = []rule.Rule{{Effect: "allow", Anyone: true, Scopes: []string{"notes:*"}}}
		f.Proxy.Hosts[0].Pages = append(f.Proxy.Hosts[0].Pages, session.PageFile{Path: "/admin", Scope: "admin", Tokens: true})
	})})
	b := s.NewBrowser()
	window := []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	enter(t, b, "/ui")
	again := host + "/account/sign-in?prompt=select_account&rd=" + url.QueryEscape("/admin/users?of=a&sort=1")
	checked := func(t *testing.T, p *servertest.Page) {
		t.Helper()
		servertest.CheckPage(t, p)
		entry := s.Log.Last(audit.AccessDenied)
		if entry["reason"] != "not_allowed_by_policy" || entry["subject"] != "static:jane" || entry["flow"] == "" || !strings.Contains(p.Body, entry["flow"]) {
			t.Errorf("the page has not the reference of the audit log, %v", entry)
		}
		if p.Status != http.StatusForbidden || !strings.Contains(p.Body, servertest.Email) || !slices.Equal(p.Links, []string{again, host + "/account/sign-out"}) {
			t.Errorf("%d %q %s", p.Status, p.Links, p.Text())
		}
	}
	at := func(header ...string) *servertest.Answer {
		return look(t, b, "GET", "/admin/users?of=a&sort=1", header...)
	}

	t.Run("in the answer", func(t *testing.T) {
		req := servertest.Request(t, "GET", host+"/authenticate/forwarded", "", append(window, "Accept-Language", "de")...)
		req.Header.Set("X-Forwarded-Method", "GET")
		req.Header.Set("X-Forwarded-Host", servertest.Host)
		req.Header.Set("X-Forwarded-Uri", "/admin/users?of=a&sort=1")
		a := b.Send(t, req)
		if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Location") != "" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%v", a.Header)
		}
		checked(t, a)
		if !strings.Contains(a.Body, "Ihr Konto darf diese Seite nicht öffnen") {
			t.Errorf("not in German: %s", a.Text())
		}
	})
	t.Run("behind nginx", func(t *testing.T) {
		req := servertest.Request(t, "GET", host+"/authenticate", "", append(window, "X-Original-URL", host+"/admin/users?of=a&sort=1", "X-Original-Method", "GET")...)
		for _, c := range b.Cookies(servertest.Host) {
			req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		a := s.Send(t, req)
		if a.Status != http.StatusForbidden || a.Header.Get("Location") != "/account/refused?rd="+url.QueryEscape("/admin/users?of=a&sort=1") {
			t.Fatalf("%d %q", a.Status, a.Header.Get("Location"))
		}
		checked(t, b.Open(t, host+a.Header.Get("Location")))
	})
	t.Run("another account", func(t *testing.T) {
		p := b.Open(t, again)
		if !strings.HasPrefix(p.Location(), "/login?") {
			t.Errorf("the browser is not asked who the person is: %d %q", p.Status, p.Location())
		}
	})
	t.Run("no window", func(t *testing.T) {
		for name, header := range map[string][]string{
			"a script": {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"},
			"a frame":  {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
		} {
			if a := at(header...); a.Status != http.StatusForbidden || a.Header.Get("Content-Type") != "application/json" || strings.Contains(a.Body, servertest.Email) {
				t.Errorf("%s: %d %q %s", name, a.Status, a.Header.Get("Content-Type"), a.Body)
			}
		}
		if p := s.Send(t, servertest.Request(t, "GET", host+"/account/refused?rd=/admin", "", "Sec-Fetch-Mode", "cors")); p.Status != http.StatusForbidden || strings.Contains(p.Body, servertest.Email) {
			t.Errorf("a script at /account/refused: %d", p.Status)
		}
	})
	t.Run("without a session", func(t *testing.T) {
		if p := s.NewBrowser().Open(t, host+"/account/refused?rd=/admin"); !strings.HasPrefix(p.Location(), signIn) {
			t.Errorf("%d %q", p.Status, p.Location())
		}
	})
}
