package account_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const (
	host    = "https://" + servertest.Host
	account = host + "/account"
	cookie  = "__Host-mcp-session"
)

// withAccount is a service with /account, at which two people have accounts.
func withAccount(f *config.File) {
	servertest.WithAccount(f)
	users := f.Provider.Settings.(*static.Settings)
	joe := users.Users[0]
	joe.Username, joe.Email, joe.Name = "joe", "joe@example.com", "Joe"
	users.Users = append(users.Users, joe)
}

func start(t *testing.T, edits ...func(*config.File)) *servertest.Service {
	t.Helper()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(append([]func(*config.File){withAccount}, edits...)...)})
	servertest.WaitForTools(t, s)
	return s
}

func browser(s *servertest.Service, username string) *servertest.Browser {
	b := s.NewBrowser()
	b.Username = username
	return b
}

func TestAppsAreSeenAndEnded(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := browser(s, "jane")
	c := s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "Notes app", "grant_types": []string{"authorization_code", "refresh_token"}})
	k := servertest.SignIn(t, c)
	other := s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "Other app"})
	kept := other.AccessToken(t, b)

	page := servertest.Account(t, b)
	for _, want := range []string{"Notes app", "Other app", "Not verified", "notes:read", "Team notes", "jane@example.com", "in its memory only"} {
		if !strings.Contains(page.Text(), want) {
			t.Errorf("the page lacks %q: %s", want, page.Text())
		}
	}
	if page.Header.Get("Cross-Origin-Opener-Policy") != "same-origin" {
		t.Error("another window of the host can reach the page")
	}
	family := ""
	for _, e := range s.Log.Entries() {
		if e["event"] == string(audit.TokenIssued) && family == "" { // the first is of the notes app
			family = e["family"]
		}
	}
	after := b.Post(t, account+"/end", url.Values{"form": {page.Form.Values.Get("form")}, "id": {family}})
	if after.Status != http.StatusOK || strings.Contains(after.Text(), "Notes app") || !strings.Contains(after.Text(), "Other app") {
		t.Errorf("after the end: %d %s", after.Status, after.Text())
	}
	s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
	k.Refused(t, 400, "invalid_grant", "family_revoked")
	s.MustPass(t, servertest.Resource, kept)
	if e := s.Log.Last(audit.FamilyEnded); e["reason"] != "ended_by_person" || e["subject"] != "static:jane" {
		t.Errorf("audit: %v", e)
	}

	t.Run("everything", func(t *testing.T) {
		k := servertest.SignIn(t, c)
		key := servertest.PersonalKey(t, b, "notes:read")
		second := browser(s, "jane")
		page := servertest.Account(t, second)
		out := second.Post(t, account+"/end", url.Values{"form": {page.Form.Values.Get("form")}, "all": {"yes"}})
		if out.Status != http.StatusOK || !strings.Contains(out.Text(), "signed out") {
			t.Errorf("%d %s", out.Status, out.Text())
		}
		s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
		s.MustNotPass(t, servertest.Resource, kept, "invalid_token")
		k.Refused(t, 400, "invalid_grant", "person_ended")
		s.MustNotPass(t, servertest.Resource, key, "invalid_token")
		if p := b.Open(t, account); p.Location() == "" {
			t.Error("the other browser is still signed in")
		}
		s.Clock.Advance(10 * time.Second)
		if p := servertest.Account(t, b); strings.Contains(p.Text(), "Other app") {
			t.Errorf("the list is not empty: %s", p.Text())
		}
		s.MustPass(t, servertest.Resource, other.AccessToken(t, b))
	})
}

func TestPersonalKeys(t *testing.T) {
	t.Parallel()
	s := start(t, func(f *config.File) {
		f.Proxy.Hosts[0].APIKeys.Header = "X-API-Key"
		f.Policy.Rules = []rule.Rule{{Effect: "allow", Users: []string{"jane", "joe"}, Scopes: []string{"notes:*"}}, {Effect: "deny", Users: []string{"joe"}, ClientKinds: []string{"key"}}}
	})
	b := browser(s, "jane")
	page := servertest.Account(t, b)
	if text := page.Text(); strings.Contains(page.Body, `value="admin"`) || !strings.Contains(text, "Make a key") {
		t.Errorf("the form offers what the person may not have: %s", text)
	}
	key := servertest.PersonalKey(t, b, "notes:read", "admin", "nonsense")
	if a := servertest.CallTool(t, s, key, "notes_list"); a.Status != http.StatusOK || a.Header.Get("X-Auth-Request-User") != "static:jane" {
		t.Errorf("a tool of its scope: %d %s", a.Status, a.Body)
	}
	if a := servertest.CallTool(t, s, key, "notes_delete"); a.Status != http.StatusForbidden {
		t.Errorf("a tool beyond: %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, servertest.Resource, "", "X-API-Key", key); a.Status != http.StatusOK {
		t.Errorf("in its header: %d", a.Status)
	}
	for name, wrong := range map[string]string{"changed": key[:len(key)-3] + "AAA", "cut": key[:60], "empty": "mfp_", "of another kind": strings.Replace(key, "mfp_", "mfk_", 1)} {
		if a := s.Ask(t, servertest.Resource, wrong); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, a.Status)
		}
	}
	if text := servertest.Account(t, b).Text(); strings.Contains(text, key) || !strings.Contains(text, "nightly") {
		t.Errorf("the list: %s", text)
	}
	if strings.Contains(s.Log.String(), key) {
		t.Error("the key is in the log")
	}
	if e := s.Log.Last(audit.KeyMade); e["family"] == "" || e["scope"] != "notes:read" || e["client_name"] != "nightly" {
		t.Errorf("audit: %v", e)
	}
	t.Run("a rule that denies keys", func(t *testing.T) {
		page := servertest.Account(t, browser(s, "joe"))
		if !strings.Contains(page.Text(), "do not let you have a key") {
			t.Errorf("%s", page.Text())
		}
	})
	t.Run("ended", func(t *testing.T) {
		id := s.Log.Last(audit.KeyMade)["family"]
		b.Post(t, account+"/end", url.Values{"form": {servertest.Account(t, b).Form.Values.Get("form")}, "id": {id}})
		s.MustNotPass(t, servertest.Resource, key, "invalid_token")
	})
	t.Run("expired", func(t *testing.T) {
		key := servertest.PersonalKey(t, b, "notes:write")
		s.Clock.Advance(31 * 24 * time.Hour)
		s.MustNotPass(t, servertest.Resource, key, "invalid_token")
	})
}

// A key lives as long as the identity provider vouches for its person now and then: at a
// sign-in, or when an app renews its access. A person who is shut out there loses it.
func TestPersonalKeyRests(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.GiveRefreshTokens(true)
	idp.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(idp), servertest.WithAccount, func(f *config.File) {
		f.PersonalKeys.SignInEvery = 48 * time.Hour
	})})
	servertest.WaitForTools(t, s)
	b := s.NewBrowser()
	if text := servertest.Account(t, b).Text(); !strings.Contains(text, "do not sign in for 2 days") {
		t.Errorf("the page does not say when a key rests: %s", text)
	}
	key := servertest.PersonalKey(t, b, "notes:read")
	rests := func(want bool) {
		t.Helper()
		a := s.Ask(t, servertest.Resource, key)
		if !want && a.Status != http.StatusOK || want && (a.Status != http.StatusUnauthorized || s.Log.Last(audit.AccessDenied)["reason"] != "api_key_sign_in_due" || strings.Contains(a.Header.Get("WWW-Authenticate"), "resource_metadata")) {
			t.Fatalf("%d %v %s", a.Status, a.Header, a.Body)
		}
	}
	s.Clock.Advance(47 * time.Hour)
	rests(false)
	s.Clock.Advance(2 * time.Hour)
	rests(true)
	servertest.Account(t, s.NewBrowser())
	s.Clock.Advance(6 * time.Second)
	rests(false)

	c := s.NewClient(t, servertest.Host, nil)
	tokens := servertest.SignIn(t, c)
	for range 4 {
		s.Clock.Advance(24 * time.Hour)
		tokens = tokens.Again(t)
		rests(false)
	}
	idp.Remove(servertest.Person.Subject)
	s.Clock.Advance(24 * time.Hour)
	if a := c.Token(t, servertest.RefreshForm(c, tokens.Refresh)); a.Status == http.StatusOK {
		t.Fatal("an app of a person who is gone renews its access")
	}
	s.Clock.Advance(25 * time.Hour)
	rests(true)
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := browser(s, "jane")
	servertest.Account(t, b)
	before := b.Cookies(servertest.Host)
	ask := b.Open(t, account+"/sign-out")
	servertest.CheckPage(t, ask)
	out := b.Submit(t, ask, "here", "yes")
	servertest.CheckPage(t, out)
	if out.Status != http.StatusOK || !strings.Contains(out.Text(), "signed out") {
		t.Fatalf("%d %s", out.Status, out.Text())
	}
	if slices.ContainsFunc(b.Cookies(servertest.Host), func(c *http.Cookie) bool { return c.Name == cookie }) {
		t.Error("the browser keeps its cookie")
	}
	thief := s.NewBrowser()
	for _, c := range before {
		thief.SetCookie(servertest.Host, c)
	}
	if page := thief.Open(t, account); page.Location() == "" {
		t.Error("a copy of the cookie opens the page after the person signed out")
	}
	if e := s.Log.Last(audit.SessionEnded); e["reason"] != "ended_by_person" {
		t.Errorf("audit: %v", e)
	}
}

// What an attacker tries at these pages.
func TestAttacks(t *testing.T) {
	t.Parallel()
	s := start(t)
	jane, joe := browser(s, "jane"), browser(s, "joe")
	c := s.NewClient(t, servertest.Host, nil)
	token := c.AccessToken(t, jane)
	page := servertest.Account(t, jane)
	form := page.Form.Values.Get("form")
	family := s.Log.Last(audit.TokenIssued)["family"]
	joes := servertest.Account(t, joe)
	refused := func(t *testing.T, p *servertest.Page) {
		t.Helper()
		servertest.CheckPage(t, p)
		if p.Status != http.StatusForbidden {
			t.Errorf("%d %s", p.Status, p.Text())
		}
		s.MustPass(t, servertest.Resource, token)
	}
	send := func(b *servertest.Browser, values url.Values, edit func(*http.Request)) *servertest.Page {
		req := b.FormRequest(t, account+"/end", values)
		edit(req)
		return b.Send(t, req)
	}
	t.Run("1 CSRF: a form of another site", func(t *testing.T) {
		refused(t, send(jane, url.Values{"form": {form}, "all": {"yes"}}, func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}))
	})
	t.Run("2 CSRF: a form of a sibling host", func(t *testing.T) {
		refused(t, send(jane, url.Values{"form": {form}, "all": {"yes"}}, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }))
	})
	t.Run("3 CSRF: a form of another site", func(t *testing.T) {
		refused(t, send(jane, url.Values{"all": {"yes"}}, func(*http.Request) {}))
		refused(t, send(jane, url.Values{"form": {form[:len(form)-2] + "AA"}, "all": {"yes"}}, func(*http.Request) {}))
	})
	t.Run("4 CSRF: the attacker's own form in the person's browser", func(t *testing.T) {
		refused(t, send(jane, url.Values{"form": {joes.Form.Values.Get("form")}, "all": {"yes"}}, func(*http.Request) {}))
	})
	t.Run("5 another person's app", func(t *testing.T) {
		p := send(joe, url.Values{"form": {joes.Form.Values.Get("form")}, "id": {family}}, func(*http.Request) {})
		if p.Status != http.StatusOK {
			t.Errorf("%d", p.Status)
		}
		s.MustPass(t, servertest.Resource, token)
	})
	t.Run("6 a script of another page of the host reads the page", func(t *testing.T) {
		for _, mode := range []string{"cors", "no-cors", "same-origin", ""} {
			req := servertest.Request(t, http.MethodGet, account, "", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "empty")
			if mode != "" {
				req.Header.Set("Sec-Fetch-Mode", mode)
			}
			if p := jane.Send(t, req); p.Status != http.StatusForbidden || strings.Contains(p.Body, `name="form"`) {
				t.Errorf("%q: %d", mode, p.Status)
			}
		}
	})
	t.Run("7 clickjacking", func(t *testing.T) {
		req := servertest.Request(t, http.MethodGet, account, "", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe")
		if p := jane.Send(t, req); p.Status != http.StatusForbidden {
			t.Errorf("in a frame: %d", p.Status)
		}
		if page.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(page.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Error("the page may be framed")
		}
	})
	t.Run("8 cookie tossing", func(t *testing.T) {
		b := s.NewBrowser()
		for _, c := range joe.Cookies(servertest.Host) {
			if c.Name == cookie {
				req := servertest.Request(t, http.MethodGet, account, "", "Sec-Fetch-Mode", "navigate", "Cookie", cookie+"="+c.Value+"; "+cookie+"=x")
				if p := b.Send(t, req); p.Location() == "" {
					t.Errorf("two sessions at once: %d", p.Status)
				}
				req = servertest.Request(t, http.MethodGet, account, "", "Sec-Fetch-Mode", "navigate", "Cookie", "mcp-session="+c.Value)
				if p := b.Send(t, req); p.Location() == "" {
					t.Errorf("without the prefix: %d", p.Status)
				}
			}
		}
	})
	t.Run("9 a token in the place of a session", func(t *testing.T) {
		req := servertest.Request(t, http.MethodGet, account, "", "Sec-Fetch-Mode", "navigate", "Authorization", "Bearer "+token)
		if p := s.NewBrowser().Send(t, req); p.Location() == "" {
			t.Errorf("%d", p.Status)
		}
		req = servertest.Request(t, http.MethodGet, account, "", "Sec-Fetch-Mode", "navigate", "Cookie", cookie+"="+token)
		if p := s.NewBrowser().Send(t, req); p.Location() == "" {
			t.Errorf("%d", p.Status)
		}
	})
	t.Run("10 sign-out by a link", func(t *testing.T) {
		jane.Open(t, account+"/sign-out")
		if p := jane.Open(t, account); p.Status != http.StatusOK {
			t.Errorf("a link signs people out: %d", p.Status)
		}
	})
	t.Run("11 a form twice", func(t *testing.T) {
		values := url.Values{"form": {servertest.Account(t, jane).Form.Values.Get("form")}, "server": {servertest.Resource}, "name": {"k"}, "scope": {"notes:read"}, "days": {"7"}}
		if p := jane.Post(t, account+"/keys", values); !strings.Contains(p.Body, "mfp_") {
			t.Fatalf("%d %s", p.Status, p.Text())
		}
		if p := jane.Post(t, account+"/keys", values); strings.Contains(p.Body, "mfp_") {
			t.Error("one form makes two keys")
		}
	})
	t.Run("12 a key beyond its bounds", func(t *testing.T) {
		for name, change := range map[string]url.Values{
			"another server": {"server": {"https://other.example.com/mcp"}}, "too long a life": {"days": {"91"}}, "no end": {"days": {"0"}}, "no scope": {"scope": nil},
			"no scope of the server": {"scope": {"admin:everything"}}, "no name": {"name": {"\u200b \u202e"}},
		} {
			values := url.Values{"form": {servertest.Account(t, jane).Form.Values.Get("form")}, "server": {servertest.Resource}, "name": {"k"}, "scope": {"notes:read"}, "days": {"7"}}
			for k, v := range change {
				values[k] = v
			}
			if p := jane.Post(t, account+"/keys", values); p.Status != http.StatusBadRequest || strings.Contains(p.Body, "mfp_") {
				t.Errorf("%s: %d %s", name, p.Status, p.Text())
			}
		}
	})
	t.Run("13 foreign text on the page", func(t *testing.T) {
		s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "<script>alert(1)</script>\u202e"}).AccessToken(t, jane)
		if p := servertest.Account(t, jane); strings.Contains(p.Body, "<script>alert") {
			t.Error("a client's name is markup")
		}
	})
}

// The identity provider ends a person's session there, and with it their browsers here.
func TestBackChannelLogout(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(idp), servertest.WithAccount)})
	servertest.WaitForTools(t, s)
	b := s.NewBrowser()
	servertest.Account(t, b)
	access := s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser())
	claims := func(change map[string]any) map[string]any { return logoutClaims(idp, change) }
	send := func(token string) *servertest.Answer { return sendLogout(t, s, token) }
	other := oauthtest.NewOIDCProvider(t)
	good, wrong := idp.AccessToken(claims(nil)), idp.AccessToken(claims(map[string]any{"jti": "two"}))
	unsigned, signature := good[:strings.LastIndexByte(good, '.')], wrong[strings.LastIndexByte(wrong, '.')+1:]
	for name, token := range map[string]string{
		"another issuer": idp.AccessToken(claims(map[string]any{"iss": other.Issuer})), "another client": idp.AccessToken(claims(map[string]any{"aud": "another"})),
		"another signature": unsigned + "." + signature, "an ID token": idp.AccessToken(claims(map[string]any{"events": nil, "nonce": "n"})),
		"a nonce": idp.AccessToken(claims(map[string]any{"nonce": "n"})), "no event": idp.AccessToken(claims(map[string]any{"events": map[string]any{"x": 1}})),
		"no id": idp.AccessToken(claims(map[string]any{"jti": nil})), "expired": idp.AccessToken(claims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})),
		"neither subject nor session": idp.AccessToken(claims(map[string]any{"sub": nil, "sid": nil})), "a session that is no text": idp.AccessToken(claims(map[string]any{"sub": nil, "sid": 7})),
		"a session without end": idp.AccessToken(claims(map[string]any{"sub": nil, "sid": strings.Repeat("x", 1000)})), "an empty session": idp.AccessToken(claims(map[string]any{"sub": nil, "sid": ""})),
		"a session and a nonce": idp.AccessToken(claims(map[string]any{"sub": nil, "nonce": "n"})), "a session and no event": idp.AccessToken(claims(map[string]any{"sub": nil, "events": nil})),
		"empty": "", "no JWT": "a.b.c",
	} {
		if a := send(token); a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	if p := b.Open(t, account); p.Status != http.StatusOK {
		t.Fatalf("a token that is not valid ends a session: %d", p.Status)
	}
	token := idp.AccessToken(claims(map[string]any{"iat": time.Now().Add(time.Second).Unix()}))
	if a := send(token); a.Status != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if p := b.Open(t, account); p.Location() == "" {
		t.Error("the browser is still signed in")
	}
	s.MustPass(t, servertest.Resource, access)
	if e := s.Log.Last(audit.SessionEnded); e["reason"] != "ended_by_provider" {
		t.Errorf("audit: %v", e)
	}
	t.Run("replayed after a new sign-in", func(t *testing.T) {
		s.Clock.Advance(10 * time.Second)
		servertest.Account(t, b)
		if a := send(token); a.Status != http.StatusOK {
			t.Errorf("%d", a.Status)
		}
		if p := b.Open(t, account); p.Status != http.StatusOK {
			t.Error("an old logout token ends a new session")
		}
	})
}

// logoutClaims are those of a logout token; nil takes one away.
func logoutClaims(idp *oauthtest.OIDCProvider, change map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": idp.Issuer, "aud": oauthtest.ClientID, "sub": servertest.Person.Subject, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": "one",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}, "sid": "x",
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sendLogout(t *testing.T, s *servertest.Service, token string) *servertest.Answer {
	t.Helper()
	return s.Send(t, servertest.Request(t, http.MethodPost, account+"/backchannel-logout", url.Values{"logout_token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

// A provider that names the session which ended ends the browsers that signed in with
// that one, and no other of the person's. It need not name the person then.
func TestBackChannelLogoutOfOneSession(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(idp), servertest.WithAccount)})
	in := func(sid any) *servertest.Browser {
		idp.EditClaims(func(c map[string]any) {
			if sid != nil {
				c["sid"] = sid
			}
		})
		b := s.NewBrowser()
		servertest.Account(t, b)
		return b
	}
	signedIn := func(b *servertest.Browser) bool { return b.Open(t, account).Status == http.StatusOK }
	logout := func(change map[string]any) {
		t.Helper()
		change["iat"] = time.Now().Add(time.Second).Unix()
		if a := sendLogout(t, s, idp.AccessToken(logoutClaims(idp, change))); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	phone, laptop, tablet, unnamed, odd := in("phone"), in("laptop"), in("tablet"), in(nil), in(strings.Repeat("x", 1000))

	logout(map[string]any{"sub": nil, "sid": "another", "jti": "a"})
	if !signedIn(phone) || !signedIn(laptop) || !signedIn(unnamed) {
		t.Error("the end of an unknown session ends one that is known")
	}
	logout(map[string]any{"sub": nil, "sid": "phone", "jti": "b"})
	if signedIn(phone) {
		t.Error("sid alone: the browser is still signed in")
	}
	if e := s.Log.Last(audit.SessionEnded); e["reason"] != "ended_by_provider" || e["subject"] != "" {
		t.Errorf("audit: %v", e)
	}
	if !signedIn(laptop) || !signedIn(tablet) || !signedIn(unnamed) || !signedIn(odd) {
		t.Error("sid alone: a browser of another session is signed out")
	}
	logout(map[string]any{"sid": "laptop", "jti": "c"})
	if signedIn(laptop) || !signedIn(tablet) {
		t.Error("sid and sub: not exactly the session that is named has ended")
	}
	if signedIn(unnamed) || signedIn(odd) {
		t.Error("sid and sub: a session that may be the one goes on")
	}
	logout(map[string]any{"sid": nil, "jti": "d"})
	if signedIn(tablet) {
		t.Error("sub alone: a session goes on")
	}
	t.Run("of another provider", func(t *testing.T) {
		s.Clock.Advance(10 * time.Second) // past what was ended by the subject alone
		b := in("shared")
		other := oauthtest.NewOIDCProvider(t)
		if a := sendLogout(t, s, other.AccessToken(logoutClaims(other, map[string]any{"sub": nil, "sid": "shared"}))); a.Status != http.StatusBadRequest || !signedIn(b) {
			t.Errorf("%d", a.Status)
		}
	})
	t.Run("replayed", func(t *testing.T) {
		logout(map[string]any{"sub": nil, "sid": "phone", "jti": "b"})
		if e := s.Log.Last(audit.SessionEnded); e["reason"] != "used_twice" {
			t.Errorf("audit: %v", e)
		}
	})
}

// Hosts without /account have nothing there.
func TestOffByDefault(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(withAccount, servertest.SecondHost, func(f *config.File) {
		f.Proxy.Hosts[1].Account, f.Proxy.Hosts[1].PersonalKeys.Enabled = false, false
		f.Proxy.Hosts[2].Account, f.Proxy.Hosts[2].PersonalKeys.Enabled = false, false
	})})
	b := browser(s, "jane")
	for _, path := range []string{"/account", "/account/sign-out", "/account/sign-in"} {
		if p := b.Open(t, "https://other.example.com"+path); p.Status != http.StatusNotFound && p.Status != http.StatusBadRequest {
			t.Errorf("%s: %d", path, p.Status)
		}
	}
	key := servertest.PersonalKey(t, b, "notes:read")
	for _, uri := range []string{"https://other.example.com/mcp", host + "/wiki"} {
		if a := s.Ask(t, uri, key); a.Status != http.StatusUnauthorized {
			t.Errorf("a key at %s: %d", uri, a.Status)
		}
	}
}
