package oauth

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestMatchRedirectURI(t *testing.T) {
	registered := []string{
		"https://good.example/cb", "https://good.example/cb?x=1", "http://localhost/callback",
		"http://127.0.0.1:8787/callback", "http://[::1]/cb", "cursor://anysphere.cursor-mcp/oauth/callback",
		"http://127.0.0.1:33418", "http://localhost:1/?x=1", "https://bare.example",
	}
	tests := []struct {
		name, requested string
		want            bool
	}{
		{"exact", "https://good.example/cb", true},
		{"exact with query", "https://good.example/cb?x=1", true},
		{"private use", "cursor://anysphere.cursor-mcp/oauth/callback", true},
		{"AS-AUTHZ-08 localhost, any port", "http://localhost:53682/callback", true},
		{"AS-AUTHZ-08 registered port is not binding", "http://127.0.0.1:1/callback", true},
		{"AS-AUTHZ-08 port left out", "http://127.0.0.1/callback", true},
		{"AS-AUTHZ-08 IPv6", "http://[::1]:9000/cb", true},
		{"AS-AUTHZ-08 hosts are not interchangeable", "http://127.0.0.1:53682/cb", false},
		{"AS-AUTHZ-08 path still exact", "http://localhost:53682/callback/", false},
		{"ATK-05 userinfo", "https://good.example@evil.example/cb", false},
		{"ATK-05 backslash", `https://good.example\@evil.example/cb`, false},
		{"ATK-05 encoded at", "https://good.example%40evil.example/cb", false},
		{"ATK-06 fragment", "https://good.example/cb#", false},
		{"ATK-06 encoded fragment", "https://good.example/cb%23", false},
		{"ATK-06 added query", "https://good.example/cb?y=1", false},
		{"ATK-06 path parameter", "https://good.example/cb;p=1", false},
		{"ATK-07 dot segment", "https://good.example/cb/../x", false},
		{"ATK-07 encoded dot segment", "https://good.example/cb/%2e%2e/x", false},
		{"ATK-07 double slash", "https://good.example//cb", false},
		{"ATK-07 trailing slash", "https://good.example/cb/", false},
		{"ATK-08 scheme case", "HTTPS://good.example/cb", false},
		{"ATK-08 host case", "https://Good.example/cb", false},
		{"ATK-08 trailing dot", "https://good.example./cb", false},
		{"ATK-08 full-width dot", "https://good。example/cb", false},
		{"ATK-09 suffix", "https://good.example.evil.example/cb", false},
		{"ATK-09 prefix", "https://evilgood.example/cb", false},
		{"ATK-10 port on https", "https://good.example:8443/cb", false},
		{"ATK-10 loopback as subdomain", "http://127.0.0.1.evil.example/callback", false},
		{"ATK-10 localhost as subdomain", "http://localhost.evil.example/callback", false},
		{"ATK-10 short IP", "http://127.1/callback", false},
		{"ATK-10 decimal IP", "http://2130706433/callback", false},
		{"ATK-10 mapped IP", "http://[::ffff:127.0.0.1]/callback", false},
		{"ATK-10 unspecified", "http://0.0.0.0/callback", false},
		{"ATK-10 userinfo on loopback", "http://localhost:80@evil.example/callback", false},
		{"ATK-10 port out of range", "http://localhost:99999/callback", false},
		{"ATK-10 port with sign", "http://localhost:+80/callback", false},
		{"ATK-38 header splitting", "https://good.example/cb\r\nX: y", false},
		{"empty", "", false},
		{"loopback, slash at the end", "http://127.0.0.1:33418/", true},
		{"loopback, other port and slash", "http://127.0.0.1:9/", true},
		{"loopback, no slash before a query", "http://localhost:2?x=1", true},
		{"loopback, another query", "http://localhost:2?x=2", false},
		{"loopback, two slashes", "http://127.0.0.1:33418//", false},
		{"https, slash at the end", "https://bare.example/", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := MatchRedirectURI(registered, tt.requested)
			if ok != tt.want || ok == got.IsZero() {
				t.Fatalf("MatchRedirectURI(%q) = %q, %v; want %v", tt.requested, got, ok, tt.want)
			}
			if ok && got.String() != tt.requested {
				t.Errorf("matched %q, asked %q", got, tt.requested)
			}
		})
	}
}

func TestClassifyRedirectURI(t *testing.T) {
	tests := []struct {
		raw  string
		want RedirectKind // 0 = refused
	}{
		{"https://claude.ai/api/mcp/auth_callback", RedirectHTTPS},
		{"https://host.example:8443/cb", RedirectHTTPS},
		{"http://localhost:6274/oauth/callback", RedirectLoopback},
		{"http://127.0.0.1/", RedirectLoopback},
		{"cursor://anysphere.cursor-mcp/oauth/callback", RedirectPrivateUse},
		{"com.example.app:/cb", RedirectPrivateUse},
		{"http://example.com/cb", 0}, {"//x", 0}, {"cb", 0}, {"https://x/cb#", 0}, {"https:///cb", 0}, {"https://u:p@x/cb", 0},
		{"https://x:0/cb", 0}, {"https://x:/cb", 0}, {"https://x./cb", 0}, {"cursor://", 0}, {"cursor:", 0},
		{"javascript:alert(1)", 0}, {"jAvAsCrIpT:alert(1)", 0}, {"\tjavascript:alert(1)", 0}, {"data:text/html,x", 0},
		{"vbscript:x", 0}, {"file:///etc/passwd", 0}, {"blob:https://x/y", 0}, {"about:blank", 0}, {"view-source:https://x", 0},
		{"intent://x#Intent;end", 0}, {"ftp://x/y", 0}, {"mailto:a@b", 0}, {"ws://x", 0}, {"wss://x", 0}, {"chrome-extension://x/y", 0},
		{"https://" + strings.Repeat("a", 2048), 0},
		{"https://claude.ai%E3%80%82evil.example/cb", 0}, {"https://claude.ai%ef%bc%8fevil.example/cb", 0}, {"https://claude.ai%2Fevil.example/cb", 0},
		{"https://claude.ai%00.evil.example/cb", 0}, {"https://%63laude.ai/cb", 0}, {"https://claude.ai,evil.example/cb", 0}, {"https://claude.ai&evil.example/cb", 0},
		{"https://claude.ai!evil.example/", 0}, {"https://claude.ai..evil.example/", 0}, {"https://.evil.example/", 0}, {"https://-evil.example/", 0},
		{"https://0x7f.1/cb", 0}, {"https://2130706433/cb", 0}, {"https://127.1/cb", 0}, {"https://0177.0.0.1/cb", 0}, {"https://1.2.3.256/cb", 0}, {"https://evil.0x1/cb", 0},
		{"https://xn--/cb", 0}, {"https://xn--a/cb", 0}, {"https://xn--a-/cb", 0}, {"https://xn--claude-.ai/cb", 0}, {"https://[::ffff:1.2.3.4]/cb", 0}, {"https://[fe80::1%25en0]/cb", 0},
		{"https://[::1]evil.example/cb", 0}, {"https://a.example:443:80/cb", 0}, {"https://a.example:0443/cb", 0},
		{"https://xn--bcher-kva.example/cb", RedirectHTTPS}, {"https://192.0.2.1:8443/cb", RedirectHTTPS}, {"https://[2001:db8::1]/cb", RedirectHTTPS},
		{"https://build_1.corp.example/cb", RedirectHTTPS}, {"https://r3---sn-a.example/cb", RedirectHTTPS},
	}
	for _, tt := range tests {
		t.Run("AS-DCR-07/08 "+tt.raw[:min(len(tt.raw), 40)], func(t *testing.T) {
			if got, err := ClassifyRedirectURI(tt.raw); got != tt.want || (err == nil) == (tt.want == 0) {
				t.Errorf("ClassifyRedirectURI(%q) = %v, %v; want %v", tt.raw, got, err, tt.want)
			}
		})
	}
}

func TestRedirectKey(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"https://a.example/cb", "https://a.example/cb", true}, {"https://a.example", "https://a.example/", false},
		{"http://127.0.0.1:33418", "http://127.0.0.1:33418/", true}, {"http://127.0.0.1:33418", "http://127.0.0.1:33419/", false},
		{"http://127.0.0.1:1", "http://localhost:1", false}, {"http://localhost:1/a", "http://localhost:1/a/", false}, {"", "http://localhost/", false},
	} {
		if got := RedirectKey(tt.a) == RedirectKey(tt.b); got != tt.want {
			t.Errorf("%q and %q have the same key: %v", tt.a, tt.b, got)
		}
	}
}

func TestCheckScheme(t *testing.T) {
	for scheme, want := range map[string]bool{
		"vscodium": true, "com.example.app": true, "x-my+app": true,
		"": false, "vscodium:": false, "vscodium://": false, "VSCodium": false, "1a": false, "https": false, "http": false, "javascript": false, "data": false, "chrome-extension": false, "ws": false,
	} {
		if err := CheckScheme(scheme); (err == nil) != want {
			t.Errorf("%q: %v", scheme, err)
		}
	}
}

func TestRedirectURIWith(t *testing.T) {
	for in, want := range map[string]string{
		"https://x.example/cb":     "https://x.example/cb?code=c+1",
		"https://x.example/cb?x=1": "https://x.example/cb?x=1&code=c+1", // AS-AUTHZ-09
		"https://x.example/cb?":    "https://x.example/cb?code=c+1",
	} {
		u, ok := MatchRedirectURI([]string{in}, in)
		if got := u.With(url.Values{"code": {"c 1"}}); !ok || got != want {
			t.Errorf("%s → %s, want %s", in, got, want)
		}
	}
}

func TestCanonicalResource(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"https://mcp.example.com", "https://mcp.example.com"},
		{"https://mcp.example.com/", "https://mcp.example.com"},
		{"HTTPS://MCP.Example.com:443/mcp/", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com:8443/mcp", "https://mcp.example.com:8443/mcp"},
		{"https://mcp.example.com./mcp", "https://mcp.example.com/mcp"},
		{"http://127.0.0.1:80/mcp", "http://127.0.0.1/mcp"},
		{"https://[::1]:8443/mcp", "https://[::1]:8443/mcp"},
		{"mcp.example.com", ""}, {"/mcp", ""}, {"https://mcp.example.com/mcp#f", ""}, {"https://mcp.example.com/mcp?x#f", ""},
		{"https://mcp.example.com/mcp?tenant=1", "https://mcp.example.com/mcp"}, {"https://mcp.example.com/mcp/?", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com?x=/../a", "https://mcp.example.com"}, {"https://mcp.example.com:443?x=http://evil.example/#", ""}, {"?x", ""}, {"https://?x", ""},
		{"https://evil.example?https://mcp.example.com/mcp", "https://evil.example"},
		{"https://user@mcp.example.com/mcp", ""}, {"https://mcp.example.com//mcp", ""}, {"https://mcp.example.com//", ""}, {"https://mcp.example.com/mcp//", ""}, {"https://mcp.example.com/a/../mcp", ""},
		{"https://mcp.example.com/%6dcp", ""}, {"https://mcp.example.com/mcp%2fx", ""}, {"https://mcp.example.com/mcp;x", ""},
		{`https://mcp.example.com\mcp`, ""}, {"ftp://mcp.example.com", ""}, {"", ""}, {"https://mcp.example.com/mcp\r\nx", ""},
	}
	for _, tt := range tests {
		if got, err := CanonicalResource(tt.raw); got != tt.want || (err == nil) == (tt.want == "") {
			t.Errorf("AS-AUTHZ-15/16: CanonicalResource(%q) = %q, %v; want %q", tt.raw, got, err, tt.want)
		}
	}
}

func TestChallenge(t *testing.T) {
	c := Challenge{Error: InvalidToken, ErrorDescription: "a\r\nSet-Cookie: x=\"1\"", Scope: Scopes{"a", "b"}, ResourceMetadata: "https://h/.well-known/oauth-protected-resource/mcp"}
	want := `Bearer error="invalid_token", error_description="aSet-Cookie: x=1", scope="a b", resource_metadata="https://h/.well-known/oauth-protected-resource/mcp"`
	if got := c.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := (Challenge{}).String(); got != "Bearer" {
		t.Errorf("got %s", got)
	}
}

func TestPKCE(t *testing.T) {
	verifier := strings.Repeat("v", 43)
	challenge := S256(verifier)
	// The example of RFC 7636, appendix B.
	if got := S256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Errorf("S256 = %s", got)
	}
	tests := []struct {
		name, verifier, challenge string
		want                      bool
	}{
		{"right", verifier, challenge, true},
		{"AS-TOK-09 wrong", strings.Repeat("w", 43), challenge, false},
		{"AS-TOK-09 short", strings.Repeat("v", 42), challenge, false},
		{"AS-TOK-09 long", strings.Repeat("v", 129), challenge, false},
		{"AS-TOK-09 charset", strings.Repeat("v", 42) + "+", challenge, false},
		{"ATK-03 no challenge", verifier, "", false},
		{"ATK-04 plain", challenge, challenge, false},
	}
	for _, tt := range tests {
		if got := VerifyCodeChallenge(tt.verifier, tt.challenge); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestEveryErrorCodeHasAStatus(t *testing.T) {
	for code, status := range statuses {
		if status < 400 || code.Status() != status {
			t.Errorf("%s: %d", code, status)
		}
	}
}

func TestParams(t *testing.T) {
	p := NewParams(url.Values{"a": {"1"}, "b": {"1", "2"}, "c": {""}, "resource": {"x", "", "y"}}, "resource")
	if p.Get("a") != "1" || p.Get("b") != "" || p.Get("c") != "" || !p.Duplicated("b") || p.CheckDuplicates() == nil {
		t.Errorf("AS-AUTHZ-02: %+v", p)
	}
	if got := p.All("resource"); len(got) != 2 {
		t.Errorf("resource = %q", got)
	}
}

func FuzzRedirectMatch(f *testing.F) {
	f.Add("http://localhost/cb", "http://localhost:1/cb")
	f.Add("https://a.example/cb", "https://a.example/cb")
	f.Fuzz(func(t *testing.T, registered, requested string) {
		u, ok := MatchRedirectURI([]string{registered}, requested)
		if !ok {
			return
		}
		if u.String() != requested {
			t.Fatal("matched something else than was asked")
		}
		if registered == requested {
			return
		}
		a, err1 := url.Parse(registered)
		b, err2 := url.Parse(requested)
		if err1 != nil || err2 != nil || a.Scheme != "http" || b.Scheme != "http" || a.Hostname() != b.Hostname() ||
			strings.TrimPrefix(a.EscapedPath(), "/") != strings.TrimPrefix(b.EscapedPath(), "/") || a.RawQuery != b.RawQuery || b.Fragment != "" || b.User != nil {
			t.Fatalf("%q matched %q", requested, registered)
		}
	})
}

var plainHosts = regexp.MustCompile(`^([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[1-9][0-9]*)?$`)

// FuzzShownHost: the host that people are shown is in the plain syntax that every
// URL parser reads alike, and is what stands in the URI, not what a parser made
// of it. TestShownHostIsTheBrowsers in package e2e asks a browser's parser.
func FuzzShownHost(f *testing.F) {
	for _, raw := range []string{
		"https://claude.ai/cb", "https://claude.ai%E3%80%82evil.example/cb", "https://CLAUDE.ai:443/", "https://xn--bcher-kva.example:8443?x", "https://[2001:DB8:0:0::1]/",
		"https://0x7f.1/", "https://evil.example\\@claude.ai/", "https://claude.ai:80@evil.example/", "https://xn--claude-.ai/", "http://localhost:1/", "http://[::1]/",
		"https://1.2.3/", "https://a.0x/", "https://xn--a-ecp.ru/", "https://faß.example/", "https:///evil.example/", "https:evil.example", "https://a.example;b/",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		uri, ok := MatchRedirectURI([]string{raw}, raw)
		if kind, _ := ClassifyRedirectURI(raw); !ok || kind == RedirectPrivateUse {
			return
		}
		shown := uri.DisplayHost()
		if !plainHosts.MatchString(shown) || strings.Contains(shown, "..") || strings.HasSuffix(shown, ".") {
			t.Fatalf("%q is shown as %q", raw, shown)
		}
		if shown[0] == '[' {
			return // has more than one spelling
		}
		_, rest, _ := strings.Cut(raw, "://")
		rest = strings.ToLower(strings.FieldsFunc(rest, func(c rune) bool { return strings.ContainsRune("/?#", c) })[0])
		if rest != shown && rest != shown+":443" && rest != shown+":80" {
			t.Fatalf("%q is shown as %q", raw, shown)
		}
	})
}

func FuzzResourceURI(f *testing.F) {
	f.Add("https://Mcp.Example.com:443/mcp/")
	f.Fuzz(func(t *testing.T, raw string) {
		once, err := CanonicalResource(raw)
		if err != nil {
			return
		}
		twice, err := CanonicalResource(once)
		if err != nil || once != twice {
			t.Fatalf("%q → %q → %q, %v", raw, once, twice, err)
		}
		u, err := url.Parse(once)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q → %q", raw, once)
		}
	})
}

func FuzzChallenge(f *testing.F) {
	f.Add("desc", "a b", "https://h/x")
	f.Fuzz(func(t *testing.T, desc, scope, meta string) {
		s := Challenge{Error: InvalidToken, ErrorDescription: desc, Scope: strings.Fields(scope), ResourceMetadata: meta}.String()
		for i := range len(s) {
			if s[i] < 0x20 || s[i] > 0x7e {
				t.Fatalf("%q", s)
			}
		}
		if strings.Count(s, `"`)%2 != 0 {
			t.Fatalf("%q", s)
		}
	})
}
