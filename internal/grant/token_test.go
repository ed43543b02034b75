package grant_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

func TestRedeemCode(t *testing.T) {
	t.Parallel()
	s, _ := servertest.Quick(t)
	b := s.NewBrowser()
	c := s.NewClient(t, servertest.Host, nil)
	other := s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "Another"})
	refuse := func(t *testing.T, a *servertest.Answer, status int, code, reason string) {
		t.Helper()
		if a.Status != status || a.String("error") != code {
			t.Errorf("%d %s, want %d %s", a.Status, a.Body, status, code)
		}
		if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" || a.JSON["access_token"] != nil {
			t.Errorf("AS-TOK-04 %v %s", a.Header, a.Body)
		}
		if e := s.Log.Last(audit.TokenRefused); e["reason"] != reason {
			t.Errorf("audit says %q, want %q", e["reason"], reason)
		}
	}

	t.Run("AS-TOK-12 what is wrong with a request does not spend the code", func(t *testing.T) {
		a := c.Begin()
		code := a.Code(t, b)
		for _, row := range []struct {
			id, name string
			values   []string
			code     string
			reason   string
		}{
			{"AS-TOK-03", "grant_type", nil, "invalid_request", "invalid_request"},
			{"AS-TOK-03", "grant_type", []string{"password"}, "unsupported_grant_type", "unsupported_grant_type"},
			{"AS-TOK-03", "grant_type", []string{"implicit"}, "unsupported_grant_type", "unsupported_grant_type"},
			{"AS-TOK-03", "grant_type", []string{"Authorization_Code"}, "unsupported_grant_type", "unsupported_grant_type"},
			{"AS-TOK-02", "grant_type", []string{"authorization_code", "authorization_code"}, "invalid_request", "duplicate_parameter"},
			{"AS-TOK-02", "code", []string{code, code}, "invalid_request", "duplicate_parameter"},
			{"AS-TOK-02", "foo", []string{"1", "2"}, "invalid_request", "duplicate_parameter"},
			{"AS-TOK-02", "code", []string{""}, "invalid_request", "invalid_request"},
			{"AS-TOK-09", "code_verifier", nil, "invalid_request", "invalid_request"},
			{"AS-TOK-09 ATK-02", "code_verifier", []string{strings.Repeat("v", 52)}, "invalid_grant", "wrong_code_verifier"},
			{"AS-TOK-09 short", "code_verifier", []string{a.Verifier[:42]}, "invalid_grant", "wrong_code_verifier"},
			{"AS-TOK-09 long", "code_verifier", []string{a.Verifier + strings.Repeat("x", 100)}, "invalid_grant", "wrong_code_verifier"},
			{"AS-TOK-09 ATK-04 the challenge", "code_verifier", []string{a.Params.Get("code_challenge")}, "invalid_grant", "wrong_code_verifier"},
			{"AS-TOK-10", "redirect_uri", []string{"https://app.example.org/other"}, "invalid_grant", "redirect_uri_mismatch"},
			{"AS-TOK-06", "client_id", []string{other.ID}, "invalid_grant", "code_of_another_client"},
			{"AS-TOK-06", "code", []string{"nothing"}, "invalid_grant", "invalid_code"},
			{"AS-TOK-06 ATK-62", "code", []string{code[:len(code)-1]}, "invalid_grant", "invalid_code"},
			{"AS-TOK-06 one spelling", "code", []string{code + "\n"}, "invalid_grant", "invalid_code"},
			{"AS-TOK-06 one spelling", "code", []string{code + "="}, "invalid_grant", "invalid_code"},
			{"AS-TOK-06 huge", "code", []string{strings.Repeat("A", 30<<10)}, "invalid_grant", "invalid_code"},
			{"AS-TOK-11", "resource", []string{"https://other.example.com/mcp"}, "invalid_target", "invalid_target"},
			{"AS-TOK-11", "resource", []string{"https://mcp.example.com/mcp", "https://mcp.example.com/x"}, "invalid_target", "invalid_target"},
		} {
			form := a.TokenForm(code)
			if delete(form, row.name); row.values != nil {
				form[row.name] = row.values
			}
			t.Run(fmt.Sprintf("%s %s=%.20q", row.id, row.name, row.values), func(t *testing.T) {
				refuse(t, c.Token(t, form), 400, row.code, row.reason)
			})
		}
		t.Run("AS-TOK-12 and the corrected request works", func(t *testing.T) {
			form := a.TokenForm(code)
			form.Set("scope", "admin notes:write everything") // AS-TOK-13
			form.Set("resource", "https://MCP.example.com:443/mcp/")
			got := c.Token(t, form)
			if got.Status != 200 || got.String("scope") != "notes:read notes:write weather:read profile" {
				t.Errorf("AS-TOK-13 status %d, want 200: %s", got.Status, got.Body)
			}
		})
		t.Run("AS-TOK-07 ATK-33 used again", func(t *testing.T) {
			refuse(t, a.Exchange(t, code), 400, "invalid_grant", "code_used_twice")
		})
	})
	t.Run("AS-TOK-06 unknown, expired, used and foreign codes look the same", func(t *testing.T) {
		a := c.Begin()
		code := a.Code(t, b)
		form := a.TokenForm(code)
		form.Set("client_id", other.ID)
		bodies := []string{c.Token(t, form).Body}
		form = a.TokenForm("unknown")
		bodies = append(bodies, c.Token(t, form).Body)
		a.Exchange(t, code)
		bodies = append(bodies, a.Exchange(t, code).Body)
		late := c.Begin()
		code = late.Code(t, b)
		s.Clock.Advance(61 * time.Second)
		expired := late.Exchange(t, code)
		refuse(t, expired, 400, "invalid_grant", "code_expired")
		if e := s.Log.Last(audit.TokenRefused); e["flow"] == "" || e["subject"] == "" {
			t.Errorf("the entry does not say whose code it was: %v", e)
		}
		if bodies = append(bodies, expired.Body); len(slices.Compact(bodies)) != 1 {
			t.Errorf("%q", bodies)
		}
	})
	t.Run("AS-TOK-10 redirect_uri may be left out", func(t *testing.T) {
		a := c.Begin()
		form := a.TokenForm(a.Code(t, b))
		form.Del("redirect_uri")
		form.Del("resource")
		if got := c.Token(t, form); got.Status != 200 {
			t.Errorf("status %d, want 200: %s", got.Status, got.Body)
		}
	})
	t.Run("AS-TOK-07 ATK-33 50 at once, one token", func(t *testing.T) {
		a := c.Begin()
		form := a.TokenForm(a.Code(t, b)).Encode()
		var wg sync.WaitGroup
		var mu sync.Mutex
		results := map[string]int{}
		for range 50 {
			req := servertest.Request(t, "POST", "https://mcp.example.com/token", form, "Content-Type", "application/x-www-form-urlencoded")
			wg.Go(func() {
				got, err := s.TrySend(req)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					results[err.Error()]++
				} else {
					results[fmt.Sprint(got.Status, got.String("error"))]++
				}
			})
		}
		wg.Wait()
		if results["200"] != 1 || results["400invalid_grant"] != 49 {
			t.Errorf("%v", results)
		}
	})
	t.Run("AS-DCR-16 AS-CA-04 unknown client", func(t *testing.T) {
		a := c.Begin()
		form := a.TokenForm(a.Code(t, b))
		for _, id := range []string{"nobody", "dcr1.x", c.ID + "A", strings.Repeat("x", 5000)} {
			form.Set("client_id", id)
			refuse(t, c.Token(t, form), 401, "invalid_client", "unknown_client")
		}
		form.Del("client_id")
		refuse(t, c.Token(t, form), 401, "invalid_client", "client_id_missing")
	})
	t.Run("AS-TOK-01 form and POST only", func(t *testing.T) {
		a := c.Begin()
		form := a.TokenForm(a.Code(t, b))
		for _, method := range []string{"GET", "PUT", "HEAD"} {
			if got := s.Send(t, servertest.Request(t, method, "https://mcp.example.com/token?"+form.Encode(), "")); got.Status != 405 || got.Header.Get("Allow") != "POST" {
				t.Errorf("%s: %d", method, got.Status)
			}
		}
		got := s.Send(t, servertest.Request(t, "POST", "https://mcp.example.com/token?"+form.Encode(), "", "Content-Type", "application/x-www-form-urlencoded"))
		refuse(t, got, 401, "invalid_client", "client_id_missing")
		for _, media := range []string{"application/json", "", "multipart/form-data; boundary=x", "text/plain"} {
			got := s.Send(t, servertest.Request(t, "POST", "https://mcp.example.com/token", `{"grant_type":"authorization_code"}`, "Content-Type", media))
			refuse(t, got, 400, "invalid_request", "wrong_media_type")
		}
		for _, body := range []string{"a=1;b=2", "a=%zz", "%"} {
			got := s.Send(t, servertest.Request(t, "POST", "https://mcp.example.com/token", body, "Content-Type", "application/x-www-form-urlencoded"))
			refuse(t, got, 400, "invalid_request", "malformed_form")
		}
	})
	t.Run("AS-TOK-14 ATK-37 1 MB of body, 100000 parameters", func(t *testing.T) {
		for _, body := range []string{"code=" + strings.Repeat("x", 1<<20), strings.Repeat("a=1&", 100_000)} {
			got := s.Send(t, servertest.Request(t, "POST", "https://mcp.example.com/token", body, "Content-Type", "application/x-www-form-urlencoded"))
			refuse(t, got, 413, "invalid_request", "body_too_large")
		}
	})
	t.Run("ATK-37 1 MB of headers", func(t *testing.T) {
		req := servertest.Request(t, "POST", "https://mcp.example.com/token", "")
		for i := range 16 {
			req.Header.Set(fmt.Sprintf("X-Filler-%d", i), strings.Repeat("x", 64<<10))
		}
		if got, err := s.TrySend(req); err == nil && got.Status != 431 { // or the connection is cut while we still send
			t.Errorf("%d", got.Status)
		}
	})
	t.Run("AS-META-17 any origin may call, with a preflight", func(t *testing.T) {
		got := s.Send(t, servertest.Request(t, "OPTIONS", "https://mcp.example.com/token", "", "Origin", "https://app.example.org", "Access-Control-Request-Method", "POST"))
		if got.Status != 204 || got.Header.Get("Access-Control-Allow-Origin") != "*" || got.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("status %d, want 204: %v", got.Status, got.Header)
		}
		for _, name := range []string{"Authorization", "Content-Type", "DPoP", "MCP-Protocol-Version"} {
			if !strings.Contains(got.Header.Get("Access-Control-Allow-Headers"), name) {
				t.Errorf("%s is not allowed", name)
			}
		}
	})
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	s, _ := servertest.Quick(t)
	b := s.NewBrowser()
	public := s.NewClient(t, servertest.Host, nil)
	confidential := s.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_basic"})
	if len(confidential.Secret) < 32 || confidential.Registration.JSON["client_secret_expires_at"] != float64(0) || public.Secret != "" {
		t.Errorf("AS-DCR-03 %s", confidential.Registration.Body)
	}
	a := confidential.Begin()
	code := a.Code(t, b)
	send := func(c *servertest.Client, form url.Values, header ...string) *servertest.Answer {
		return s.Send(t, servertest.Request(t, "POST", "https://mcp.example.com/token", form.Encode(), append(header, "Content-Type", "application/x-www-form-urlencoded")...))
	}
	basic := func(id, secret string) string {
		req := servertest.Request(t, "GET", "https://x/", "")
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		return req.Header.Get("Authorization")
	}
	form := func() url.Values {
		f := a.TokenForm(code)
		f.Del("client_secret")
		return f
	}
	with := func(name, value string) url.Values {
		f := form()
		f.Set(name, value)
		return f
	}
	without := func(name string) url.Values {
		f := form()
		f.Del(name)
		return f
	}
	good := basic(confidential.ID, confidential.Secret)
	for _, row := range []struct {
		name    string
		form    url.Values
		header  []string
		status  int
		code    string
		reason  string
		realm   bool
		correct bool
	}{
		{"AS-CA-03 no secret", form(), nil, 401, "invalid_client", "wrong_client_authentication_method", false, false},
		{"AS-CA-03 wrong secret in the body", with("client_secret", "wrong"), nil, 401, "invalid_client", "wrong_client_secret", false, false},
		{"AS-CA-03 another client's secret", with("client_secret", s.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_post"}).Secret), nil, 401, "invalid_client", "wrong_client_secret", false, false},
		{"AS-CA-04 wrong secret in the header", form(), []string{"Authorization", basic(confidential.ID, "wrong")}, 401, "invalid_client", "wrong_client_secret", true, false},
		{"AS-CA-02 two ways", with("client_secret", confidential.Secret), []string{"Authorization", good}, 400, "invalid_request", "two_client_authentications", false, false},
		{"AS-CA-02 ATK-32 two headers", form(), []string{"Authorization", good, "Authorization", good}, 400, "invalid_request", "two_client_authentications", false, false},
		{"AS-CA-03 other client_id in the body", with("client_id", public.ID), []string{"Authorization", good}, 400, "invalid_request", "two_client_ids", false, false},
		{"AS-CA-04 another scheme", form(), []string{"Authorization", "Bearer x"}, 401, "invalid_client", "malformed_client_authentication", true, false},
		{"AS-CA-04 not base64", form(), []string{"Authorization", "Basic %%%"}, 401, "invalid_client", "malformed_client_authentication", true, false},
		{"AS-CA-01 without client_id in the body", without("client_id"), []string{"Authorization", strings.Replace(good, "Basic", "bAsIc", 1)}, 200, "", "", false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := send(confidential, row.form, row.header...)
			if got.Status != row.status || got.String("error") != row.code {
				t.Errorf("status %d, want %v: %s", got.Status, row.status, got.Body)
			}
			if e := s.Log.Last(audit.TokenRefused); !row.correct && e["reason"] != row.reason {
				t.Errorf("audit says %v", e)
			}
			if got := got.Header.Get("WWW-Authenticate"); row.realm != strings.HasPrefix(got, "Basic ") {
				t.Errorf("WWW-Authenticate is %q", got)
			}
		})
	}
	t.Run("AS-CA-03 a public client has no secret to send", func(t *testing.T) {
		a := public.Begin()
		form := a.TokenForm(a.Code(t, b))
		form.Set("client_secret", confidential.Secret)
		if got := public.Token(t, form); got.Status != 401 || got.String("error") != "invalid_client" {
			t.Errorf("status %d, want 401: %s", got.Status, got.Body)
		}
	})
	t.Run("AS-CA-01 in the body", func(t *testing.T) {
		a := confidential.Begin()
		if got := a.Exchange(t, a.Code(t, b)); got.Status != 200 {
			t.Errorf("status %d, want 200: %s", got.Status, got.Body)
		}
	})
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	t.Run("AS-DCR-01 AS-DCR-02 the least that a client sends", func(t *testing.T) {
		a := s.Register(t, servertest.Host, servertest.Metadata{"client_name": nil, "token_endpoint_auth_method": nil})
		if a.Status != 201 || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("status %d, want 201: %v %s", a.Status, a.Header, a.Body)
		}
		if a.String("token_endpoint_auth_method") != "none" || fmt.Sprint(a.JSON["grant_types"], a.JSON["response_types"]) != "[authorization_code refresh_token] [code]" || a.JSON["client_secret"] != nil || a.JSON["client_secret_expires_at"] != nil {
			t.Errorf("AS-DCR-04 %s", a.Body)
		}
		if at, ok := a.JSON["client_id_issued_at"].(float64); !ok || at != float64(int64(at)) || !strings.HasPrefix(a.String("client_id"), "dcr1.") {
			t.Errorf("%s", a.Body)
		}
		again := s.Register(t, servertest.Host, servertest.Metadata{"client_name": nil, "token_endpoint_auth_method": nil})
		if again.String("client_id") == a.String("client_id") {
			t.Error("AS-DCR-01 two registrations have one id")
		}
	})
	for name, tt := range map[string]struct {
		more servertest.Metadata
		want string
	}{
		"a public client that says nothing gets both": {servertest.Metadata{}, "[authorization_code refresh_token]"},
		"null is nothing":                               {servertest.Metadata{"grant_types": json.RawMessage("null")}, "[authorization_code refresh_token]"},
		"a list stays as it is":                         {servertest.Metadata{"grant_types": []string{"authorization_code"}}, "[authorization_code]"},
		"an empty list too":                             {servertest.Metadata{"grant_types": []string{}}, "[authorization_code]"},
		"a client with a secret has RFC 7591's default": {servertest.Metadata{"token_endpoint_auth_method": "client_secret_post"}, "[authorization_code]"},
	} {
		t.Run("AS-DCR-04 "+name, func(t *testing.T) {
			if a := s.Register(t, servertest.Host, tt.more); a.Status != 201 || fmt.Sprint(a.JSON["grant_types"]) != tt.want {
				t.Errorf("status %d, want 201: %s", a.Status, a.Body)
			}
		})
	}
	t.Run("AS-DCR-09 the list that Cursor sends", func(t *testing.T) {
		uris := []string{"cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"}
		a := s.Register(t, servertest.Host, servertest.Metadata{"redirect_uris": uris, "grant_types": []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"}})
		if a.Status != 201 || len(a.JSON["redirect_uris"].([]any)) != 3 || strings.Contains(a.Body, "device_code") {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
	for _, u := range []string{
		"http://example.com/cb", "//x/cb", "cb", "https://x/cb#", "https://x/cb#f", "javascript:alert(1)", "JavaScript:alert(1)", "\tjavascript:alert(1)", "java\nscript:x",
		"data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://x", "about:blank", "view-source:https://x", "intent://x", "ftp://x/", "mailto:a@b", "ws://x/", "wss://x/",
		"chrome://settings", "chrome-extension://x/y", "https://", "https:///cb", "https://user@x/cb", "https://user:pass@x/cb", `https://x\@evil/cb`, "https://x:99999/cb",
		"https://x /cb", "https://é.example/cb", "http://127.0.0.1.evil.example/cb", "http://localhost.evil.example/cb", "http://127.1/cb", "http://0.0.0.0/cb", "http://[::ffff:127.0.0.1]/cb",
		"myapp://cb", "", "https://x/" + strings.Repeat("x", 3000), "*", "https://*/cb\"",
	} {
		t.Run(fmt.Sprintf("AS-DCR-07 AS-DCR-08 ATK-11 %.30q", u), func(t *testing.T) {
			a := s.Register(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{u}})
			if a.Status != 400 || a.String("error") != "invalid_redirect_uri" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("status %d, want 400: %s", a.Status, a.Body)
			}
		})
	}
	for _, row := range []struct {
		name string
		m    servertest.Metadata
		code string
	}{
		{"AS-DCR-07 none", servertest.Metadata{"redirect_uris": nil}, "invalid_redirect_uri"},
		{"AS-DCR-07 empty", servertest.Metadata{"redirect_uris": []string{}}, "invalid_redirect_uri"},
		{"AS-DCR-07 a string", servertest.Metadata{"redirect_uris": servertest.RedirectURI}, "invalid_client_metadata"},
		{"AS-DCR-14 21 URIs", servertest.Metadata{"redirect_uris": slices.Repeat([]string{servertest.RedirectURI}, 21)}, "invalid_redirect_uri"},
		{"AS-DCR-05 implicit only", servertest.Metadata{"grant_types": []string{"implicit"}}, "invalid_client_metadata"},
		{"AS-DCR-05 token only", servertest.Metadata{"response_types": []string{"token"}}, "invalid_client_metadata"},
		{"AS-DCR-12 unknown method", servertest.Metadata{"token_endpoint_auth_method": "tls_client_auth"}, "invalid_client_metadata"},
		{"AS-DCR-12 name of a wrong type", servertest.Metadata{"client_name": []string{"x"}}, "invalid_client_metadata"},
		{"AS-DCR-10 application_type", servertest.Metadata{"application_type": "desktop"}, "invalid_client_metadata"},
		{"AS-DCR-12 scope", servertest.Metadata{"scope": "a\"b"}, "invalid_client_metadata"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if a := s.Register(t, servertest.Host, row.m); a.Status != 400 || a.String("error") != row.code {
				t.Errorf("status %d, want 400: %s", a.Status, a.Body)
			}
		})
	}
	good := `"redirect_uris":["https://app.example.org/cb"]`
	for name, body := range map[string]string{
		"array": `[]`, "null": `null`, "nothing": ``, "number": `1`, "cut": `{` + good, "trailing data": `{` + good + `} {}`,
		"repeated member":        `{` + good + `,"redirect_uris":["https://evil.example/"]}`,
		"repeated foreign":       `{` + good + `,"x":1,"x":2}`,
		"another case":           `{"Redirect_URIs":["https://app.example.org/cb"]}`,
		"NaN":                    `{` + good + `,"x":NaN}`,
		"byte order mark":        "\ufeff{" + good + `}`,
		"nesting":                `{` + good + `,"x":` + strings.Repeat("[", 7000) + strings.Repeat("]", 7000) + `}`,
		"name in another script": `{"redirect_urıs":["https://app.example.org/cb"]}`,
	} {
		t.Run("ATK-39 "+name, func(t *testing.T) {
			a := s.Send(t, servertest.Request(t, "POST", "https://mcp.example.com/register", body, "Content-Type", "application/json"))
			if name == "nesting" && a.Status == 201 {
				return // an unknown member is ignored, however deep; bounded by the body's size
			}
			if a.Status != 400 || !strings.HasPrefix(a.String("error"), "invalid_") {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	t.Run("AS-DCR-06 unknown members and language tags are ignored", func(t *testing.T) {
		if a := s.Register(t, servertest.Host, servertest.Metadata{"client_name#fr": "Essai", "software_statement": "x.y.z", "jwks_uri": "http://169.254.169.254/", "logo_uri": "http://127.0.0.1/"}); a.Status != 201 {
			t.Errorf("status %d, want 201: %s", a.Status, a.Body)
		}
	})
	t.Run("AS-DCR-01 methods, media type, size", func(t *testing.T) {
		send := func(method, media, body string) *servertest.Answer {
			return s.Send(t, servertest.Request(t, method, "https://mcp.example.com/register", body, "Content-Type", media))
		}
		for want, a := range map[int]*servertest.Answer{
			405: send("GET", "", ""), 400: send("POST", "application/x-www-form-urlencoded", "redirect_uris=x"), 413: send("POST", "application/json", `{"x":"`+strings.Repeat("x", 1<<20)+`"}`),
		} {
			if a.Status != want {
				t.Errorf("%d, want %d: %s", a.Status, want, a.Body)
			}
		}
	})
}
