package forwardauth

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

const aMCP = "https://a.example/mcp"

func TestAllowed(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	secret := f.token(t, aMCP, "read")
	for _, method := range []string{"GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"} {
		t.Run("RS-VAL-07 "+method, func(t *testing.T) {
			resp := f.ask(t, nginxRequest(method, aMCP, "Authorization", "Bearer "+secret))
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d, want %v", resp.StatusCode, http.StatusOK)
			}
			for name, want := range map[string]string{"User": "jane", "Email": "jane@example.com", "Groups": "staff,a%2Cb"} {
				if got := resp.Header.Get("X-Auth-Request-" + name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
	if n := strings.Count(f.audit.String(), `"event":"access.first_use"`); n != 1 {
		t.Errorf("%d entries of first use, want 1", n)
	}
	t.Run("identity that is not known is no empty header", func(t *testing.T) {
		nobody := f.mint(t, f.issuer, aMCP, "read", token.Person{})
		resp := f.ask(t, nginxRequest("GET", aMCP, "Authorization", "Bearer "+nobody))
		if resp.Header.Get("X-Auth-Request-Email") != "-" || resp.Header.Get("X-Auth-Request-Groups") != "-" {
			t.Errorf("headers %v", resp.Header)
		}
	})
	t.Run("RS-FWD-04 Envoy removes the spellings with underscores", func(t *testing.T) {
		r, err := renderings[EnvoyHTTP](where{host: "a.example", path: "/mcp"}, http.Header{"Authorization": {"Bearer " + secret}})
		if err != nil {
			t.Fatal(err)
		}
		got := f.ask(t, r).Header["X-Envoy-Auth-Headers-To-Remove"]
		if len(got) != 1 {
			t.Fatalf("got %q", got)
		}
		names := "," + got[0] + ","
		for _, want := range []string{"x_auth_request_user", "x-auth_request-user", "x_auth_request_groups"} {
			if !strings.Contains(names, ","+want+",") {
				t.Errorf("%s lacks %s", names, want)
			}
		}
		if strings.Contains(names, ",x-auth-request-user,") {
			t.Error("what was set would be removed again")
		}
	})
}

func TestChallenges(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	good := f.token(t, aMCP, "read")
	other := newKeys(t, strings.Repeat("o", 32))
	foreign := &token.Issuer{Keys: other, Persons: f.issuer.Persons, Lifetime: time.Hour, Now: f.issuer.Now}
	expired := f.mint(t, &token.Issuer{Keys: f.issuer.Keys, Persons: f.issuer.Persons, Lifetime: time.Hour, Now: func() time.Time { return start.Add(-time.Hour) }}, aMCP, "read", token.Person{})
	future := f.mint(t, &token.Issuer{Keys: f.issuer.Keys, Persons: f.issuer.Persons, Lifetime: time.Hour, Now: func() time.Time { return start.Add(time.Hour) }}, aMCP, "read", token.Person{})
	parts := strings.Split(good, ".")
	for name, tt := range map[string]struct {
		headers []string
		status  int // where every status passes
		code    string
		reason  Reason
	}{
		"RS-ERR-01 no credentials":             {nil, 401, "", NoToken},
		"RS-ERR-01 another scheme":             {[]string{"Authorization", "Basic YTpi"}, 401, "", NoToken},
		"ATK-60 a session is no credential":    {[]string{"Mcp-Session-Id", "1"}, 401, "", NoToken},
		"RS-ERR-03 two headers":                {[]string{"Authorization", "Bearer " + good, "Authorization", "Bearer " + good}, 400, "invalid_request", MalformedCredentials},
		"ATK-32 two schemes":                   {[]string{"Authorization", "Bearer " + good, "Authorization", "Basic YTpi"}, 400, "invalid_request", MalformedCredentials},
		"ATK-32 two in one":                    {[]string{"Authorization", "Bearer " + good + ",Bearer " + good}, 400, "invalid_request", MalformedCredentials},
		"ATK-32 two in one, with a space":      {[]string{"Authorization", "Bearer " + good + ", Bearer " + good}, 400, "invalid_request", MalformedCredentials},
		"RS-ERR-03 empty":                      {[]string{"Authorization", "Bearer"}, 400, "invalid_request", MalformedCredentials},
		"RS-ERR-03 only spaces":                {[]string{"Authorization", "Bearer   "}, 400, "invalid_request", MalformedCredentials},
		"RS-ERR-03 space inside":               {[]string{"Authorization", "Bearer a b"}, 400, "invalid_request", MalformedCredentials},
		"RS-ERR-02 garbage":                    {[]string{"Authorization", "Bearer garbage"}, 401, "invalid_token", MalformedToken},
		"RS-ERR-02 too long":                   {[]string{"Authorization", "Bearer " + strings.Repeat("a", 5000)}, 401, "invalid_token", MalformedToken},
		"RS-ERR-02 bad signature":              {[]string{"Authorization", "Bearer " + parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))}, 401, "invalid_token", BadSignature},
		"RS-ERR-02 another key":                {[]string{"Authorization", "Bearer " + f.mint(t, foreign, aMCP, "read", token.Person{})}, 401, "invalid_token", UnknownKey},
		"RS-VAL-02 alg none":                   {[]string{"Authorization", "Bearer eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + parts[1] + "."}, 401, "invalid_token", MalformedToken},
		"RS-VAL-04 expired":                    {[]string{"Authorization", "Bearer " + expired}, 401, "invalid_token", Expired},
		"RS-VAL-04 from the future":            {[]string{"Authorization", "Bearer " + future}, 401, "invalid_token", Expired},
		"ATK-22 of another host":               {[]string{"Authorization", "Bearer " + f.token(t, "https://b.example", "read")}, 401, "invalid_token", WrongIssuer},
		"ATK-22 of another path":               {[]string{"Authorization", "Bearer " + f.token(t, "https://a.example/two", "read")}, 401, "invalid_token", WrongAudience},
		"ATK-22 of a path above":               {[]string{"Authorization", "Bearer " + f.token(t, "https://a.example/mcp/admin", "read")}, 401, "invalid_token", WrongAudience},
		"ATK-22 spelled with a slash":          {[]string{"Authorization", "Bearer " + f.token(t, aMCP+"/", "read")}, 401, "invalid_token", WrongAudience},
		"RS-VAL-01 only the header, no cookie": {[]string{"Cookie", "access_token=" + good}, 401, "", NoToken},
	} {
		for _, dialect := range []Dialect{NGINX, Forwarded} {
			t.Run(name+"/"+dialect.String(), func(t *testing.T) {
				r := nginxRequest("POST", aMCP+"/x?access_token="+good, tt.headers...)
				status := tt.status
				if dialect == Forwarded {
					r = forwardedRequest("POST", aMCP+"/x?access_token="+good, "", tt.headers...)
				} else if status == 400 {
					status = 401
				}
				before := f.reasons[tt.reason]
				resp := f.ask(t, r)
				if resp.StatusCode != status || f.reasons[tt.reason] != before+1 {
					t.Errorf("status %d, reasons %v; want %d, %s", resp.StatusCode, f.reasons, status, tt.reason)
				}
				c := challenge(t, resp)
				if c["error"] != tt.code || (c["error_description"] == "") != (tt.code == "") {
					t.Errorf("challenge %v", c)
				}
				// RS-PRM-03: the document is that of the URL the client called.
				if c["resource_metadata"] != "https://a.example/.well-known/oauth-protected-resource/mcp/x" || c["scope"] != "read write" {
					t.Errorf("challenge %v", c)
				}
			})
		}
	}
	t.Run("RS-ERR-02 one description for every bad token", func(t *testing.T) {
		for _, r := range []Reason{UnknownKey, BadSignature, WrongIssuer, WrongAudience, Expired} {
			if answers[r].body != answers[MalformedToken].body {
				t.Errorf("%s differs", r)
			}
		}
	})
	t.Run("RS-VAL-01 the scheme in any case", func(t *testing.T) {
		if resp := f.ask(t, nginxRequest("GET", aMCP, "Authorization", "bEARER "+good)); resp.StatusCode != 200 {
			t.Errorf("status %d, want 200", resp.StatusCode)
		}
	})
	t.Run("ATK-22 a token that is remembered", func(t *testing.T) {
		if resp := f.ask(t, nginxRequest("GET", "https://a.example/two", "Authorization", "Bearer "+good)); resp.StatusCode != 401 {
			t.Errorf("status %d, want 401", resp.StatusCode)
		}
	})
	t.Run("RS-VAL-04 a token that is remembered expires", func(t *testing.T) {
		defer func() { f.now = start }()
		for after, want := range map[time.Duration]int{time.Hour - time.Second: 200, time.Hour: 401} {
			f.now = start.Add(after)
			if resp := f.ask(t, nginxRequest("GET", aMCP, "Authorization", "Bearer "+good)); resp.StatusCode != want {
				t.Errorf("after %s: status %d", after, resp.StatusCode)
			}
		}
	})
	t.Run("no token in the log", func(t *testing.T) {
		if strings.Contains(f.audit.String(), parts[2]) {
			t.Error("it is there")
		}
	})
}

func TestBaselineScope(t *testing.T) {
	t.Run("RS-ERR-07 offline_access is never asked for", func(t *testing.T) {
		f := newFixture(t, "a.example/mcp", nil)
		f.scopes.names = []string{"offline_access", "read"}
		if c := challenge(t, f.ask(t, nginxRequest("GET", aMCP))); c["scope"] != "read" {
			t.Errorf("challenge %v", c)
		}
	})
	t.Run("too many scopes are left out", func(t *testing.T) {
		f := newFixture(t, "a.example/mcp", nil)
		f.scopes.names = []string{strings.Repeat("a", 600), strings.Repeat("b", 600)}
		if c := challenge(t, f.ask(t, nginxRequest("GET", aMCP))); c["scope"] != "" || c["resource_metadata"] == "" {
			t.Errorf("challenge %v", c)
		}
	})
	t.Run("RS-PRM-03 a host without a path", func(t *testing.T) {
		f := newFixture(t, "a.example", nil)
		for target, want := range map[string]string{"https://a.example/": "", "https://a.example/x/": "/x"} {
			c := challenge(t, f.ask(t, nginxRequest("GET", target)))
			if c["resource_metadata"] != "https://a.example/.well-known/oauth-protected-resource"+want {
				t.Errorf("%s: challenge %v", target, c)
			}
		}
	})
}

func TestCache(t *testing.T) {
	f := newFixture(t, "a.example/mcp", func(_ string, r *rule.Rules) { r.ToolPolicy = rule.Enforce })
	f.verified = newCache(shardCount) // one token in each shard
	good := f.token(t, aMCP, "read")
	ask := func(raw string) int {
		return f.ask(t, nginxRequest("GET", aMCP, "Authorization", "Bearer "+raw)).StatusCode
	}
	size := func() (n int) {
		for i := range f.verified.shards {
			n += len(f.verified.shards[i].entries)
		}
		return n
	}
	if ask(good) != 200 || size() != 1 {
		t.Fatalf("%d entries, want 1", size())
	}
	t.Run("a flood of bad tokens evicts nothing", func(t *testing.T) {
		parts := strings.Split(good, ".")
		for i := range 300 {
			bad := parts[0] + "." + parts[1] + "." + strings.Repeat(string(rune('A'+i%26)), len(parts[2]))
			if i%2 == 0 {
				bad = "garbage" + strings.Repeat("x", i)
			}
			if ask(bad) != 401 {
				t.Fatal("allowed")
			}
		}
		if size() != 1 || strings.Count(f.audit.String(), "access.first_use") != 1 {
			t.Errorf("%d entries", size())
		}
	})
	t.Run("bounded", func(t *testing.T) {
		if testing.Short() {
			t.Skip("mints many tokens")
		}
		for range 3 * shardCount {
			if ask(f.token(t, aMCP, "read")) != 200 {
				t.Fatal("denied")
			}
		}
		if size() > shardCount {
			t.Errorf("%d entries", size())
		}
		if ask(good) != 200 {
			t.Error("a token that was forgotten is refused")
		}
	})
}

// A token is known from when it is issued on, and its first use is written down
// when it is used.
func TestIssued(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	res := f.Resources.Host("a.example").Covering("/mcp")
	used := func() int { return strings.Count(f.audit.String(), `"event":"access.first_use"`) }
	raw := f.token(t, aMCP, "read write")
	f.Issued(raw, res)
	if f.Remembered() != 1 || used() != 0 {
		t.Fatalf("%d remembered, %d used; want 1, 0", f.Remembered(), used())
	}
	var lookup Lookup
	f.Endpoint.Count = func(o Outcome) { lookup = o.Lookup }
	for range 3 {
		if resp := f.ask(t, nginxRequest("GET", aMCP, "Authorization", "Bearer "+raw)); resp.StatusCode != 200 {
			t.Fatalf("status %d, want 200", resp.StatusCode)
		}
		if lookup != Hit || used() != 1 {
			t.Errorf("lookup %v, %d first uses; want %v, 1", lookup, used(), Hit)
		}
	}
	for name, bad := range map[string]string{
		"another resource": f.token(t, aMCP+"/x", "read"), "changed": raw[:len(raw)-8] + "AAAAAAAA", "nothing": "", "too long": strings.Repeat("a", 1<<16),
	} {
		if f.Issued(bad, res); f.Remembered() != 1 {
			t.Errorf("%s is remembered", name)
		}
	}
}

// Tokens that have expired do not pile up, full cache or not.
func TestExpiredAreForgotten(t *testing.T) {
	const lifetime, total = 1000, 20_000
	c := newCache(1 << 20)
	var most int
	for n := range total {
		c.put(fingerprint{byte(n), byte(n >> 8), byte(n >> 16)}, &Token{Expires: int64(n + lifetime)}, int64(n))
		most = max(most, c.len())
	}
	if most > lifetime*3/2 {
		t.Errorf("%d entries for %d that are alive", most, lifetime)
	}
}
