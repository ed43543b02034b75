package forwardauth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// everyHeader names a header for everything there is.
var everyHeader = outbound.Headers{
	User: "X-Forwarded-User", Email: "X-Forwarded-Email", Groups: "X-Forwarded-Groups", Name: "X-Forwarded-Name", Client: "X-Client", Scope: "X-Scope",
	JWT: "X-Auth-Request-Identity", Signed: outbound.Signed{Lifetime: time.Minute},
}

// signs returns a fixture that sets every header.
func signs(tb testing.TB) *fixture {
	tb.Helper()
	f := newFixture(tb, defaultHosts, func(_ string, r *rule.Rules) { r.AllowedOrigins = []string{"*"} })
	e := *f.Endpoint
	e.names, e.Headers = nil, everyHeader
	e.Identities = &token.Identities{Keys: shared.keys, Lifetime: everyHeader.Signed.Lifetime}
	f.Endpoint = New(e)
	return f
}

// claimsOf reads a JWT without checking it.
func claimsOf(tb testing.TB, raw string) map[string]any {
	tb.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		tb.Fatalf("not a JWT: %q", raw)
	}
	plain, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		tb.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(plain, &out); err != nil {
		tb.Fatal(err)
	}
	return out
}

func headerBytesOf(h http.Header) (n int) {
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

func TestIdentityOfEveryKind(t *testing.T) {
	f := signs(t)
	raw := f.mint(t, f.issuer, aMCP, "read write", token.Person{Email: "jane@example.com", Name: "Jané Doe", Groups: []string{"staff", "a,b"}})
	for _, forged := range []string{"", "evil"} {
		var headers []string
		for _, name := range everyHeader.Names() {
			if forged != "" {
				headers = append(headers, name, forged)
			}
		}
		headers = append(headers, "Authorization", "Bearer "+raw)
		for dialect, r := range map[string]*http.Request{
			"nginx": nginxRequest("POST", aMCP, headers...), "forwarded": forwardedRequest("POST", aMCP, "", headers...),
		} {
			t.Run("RS-FWD-04 "+dialect+" "+forged, func(t *testing.T) {
				resp := f.ask(t, r)
				for name, want := range map[string]string{
					"X-Forwarded-User": "jane", "X-Forwarded-Email": "jane@example.com", "X-Forwarded-Groups": "staff,a%2Cb",
					"X-Forwarded-Name": "Jan%C3%A9 Doe", "X-Client": "client", "X-Scope": "read write",
				} {
					if got := resp.Header[name]; len(got) != 1 || got[0] != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
				c := claimsOf(t, resp.Header.Get("X-Auth-Request-Identity"))
				want := map[string]any{
					"iss": "https://a.example", "aud": aMCP, "sub": "jane", "email": "jane@example.com", "name": "Jané Doe", "groups": []any{"staff", "a,b"},
					"client_id": "client", "scope": "read write", "iat": float64(start.Unix()), "exp": float64(start.Unix() + 60),
				}
				if fmt.Sprint(c) != fmt.Sprint(want) {
					t.Errorf("%v, want %v", c, want)
				}
			})
		}
	}
	t.Run("RS-FWD-04 spellings with underscores go", func(t *testing.T) {
		q := read(nginxRequest("POST", aMCP, "Authorization", "Bearer "+raw))
		d := f.Decide(t.Context(), &q)
		if !slices.Equal(d.Headers.Names, everyHeader.Names()) || len(d.Headers.Values) != len(d.Headers.Names) {
			t.Errorf("%q: %q", d.Headers.Names, d.Headers.Values)
		}
		for _, name := range everyHeader.Names() {
			if twin := strings.ReplaceAll(strings.ToLower(name), "-", "_"); !slices.Contains(d.Remove, twin) {
				t.Errorf("%s stays", twin)
			}
		}
	})
	t.Run("RS-FWD-04 a preflight is nobody", func(t *testing.T) {
		resp := f.ask(t, nginxRequest("OPTIONS", aMCP, "Origin", "https://page.example", "Access-Control-Request-Method", "POST", "X-Auth-Request-Identity", "evil"))
		for _, name := range everyHeader.Names() {
			if got := resp.Header[name]; resp.StatusCode != 200 || len(got) != 1 || got[0] != "-" {
				t.Errorf("%d, %s: %q", resp.StatusCode, name, got)
			}
		}
	})
}

// The signed header is made when it is needed, once for half its life.
func TestSignedHeaderIsKept(t *testing.T) {
	f := signs(t)
	raw := f.token(t, aMCP, "read")
	ask := func() string {
		t.Helper()
		resp := f.ask(t, nginxRequest("POST", aMCP, "Authorization", "Bearer "+raw))
		if resp.StatusCode != 200 {
			t.Fatalf("status %d, want 200", resp.StatusCode)
		}
		return resp.Header.Get("X-Auth-Request-Identity")
	}
	first := ask()
	for _, step := range []struct {
		after time.Duration
		same  bool
	}{{0, true}, {29 * time.Second, true}, {30 * time.Second, false}, {59 * time.Second, false}, {2 * time.Minute, false}} {
		f.now = start.Add(step.after)
		got := ask()
		if (got == first) != step.same {
			t.Errorf("after %s: the same: %t", step.after, got == first)
		}
		if left := claimsOf(t, got)["exp"].(float64) - float64(f.now.Unix()); left < 30 || left > 60 {
			t.Errorf("after %s: %v seconds are left", step.after, left)
		}
	}
	t.Run("not longer than the access token", func(t *testing.T) {
		f.now = start.Add(time.Hour - 10*time.Second)
		if got := claimsOf(t, ask())["exp"]; got != float64(start.Add(time.Hour).Unix()) {
			t.Errorf("exp %v", got)
		}
	})
	t.Run("never for a denied request", func(t *testing.T) {
		f := signs(t)
		raw := f.token(t, aMCP, "read")
		resp := f.ask(t, nginxRequest("POST", aMCP, append(call("put"), "Authorization", "Bearer "+raw)...))
		if resp.StatusCode == 200 || resp.Header.Get("X-Auth-Request-Identity") != "" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		remembered := f.verified.get(digest(raw, f.Resources.Host("a.example").Covering("/mcp")))
		if remembered == nil || remembered.signing.last.Load() != nil {
			t.Error("signed all the same")
		}
	})
	t.Run("many at once", func(t *testing.T) {
		f := signs(t)
		raw := f.token(t, aMCP, "read")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if len(f.ask(t, nginxRequest("POST", aMCP, "Authorization", "Bearer "+raw)).Header.Get("X-Auth-Request-Identity")) < 500 {
					t.Error("no signed header")
				}
			})
		}
		wg.Wait()
	})
}

// However much there is to say, it fits the 4 KB that gateways have for it.
func TestIdentityFitsTheHeaders(t *testing.T) {
	plain := newFixture(t, defaultHosts, nil)
	all := signs(t)
	for _, n := range []int{0, 1, 20, 60, 100, 200} {
		for _, letter := range []string{"g", "ü", "\""} {
			p := token.Person{Email: "jane@example.com", Name: strings.Repeat(letter, 40)}
			for i := range n {
				p.Groups = append(p.Groups, fmt.Sprintf("%s-%03d", strings.Repeat(letter, 8), i))
			}
			scope := strings.TrimSpace(strings.Repeat("scope:abcdefghi ", min(n, 60)))
			raw := plain.mint(t, plain.issuer, aMCP, scope, p)
			for name, f := range map[string]*fixture{"plain": plain, "all": all} {
				resp := f.ask(t, nginxRequest("POST", aMCP, "Authorization", "Bearer "+raw))
				size := headerBytesOf(resp.Header)
				if resp.StatusCode != 200 || size > 4000 {
					t.Errorf("%s, %d groups of %s: status %d, %d bytes of headers", name, n, letter, resp.StatusCode, size)
				}
				if name == "plain" {
					continue
				}
				c := claimsOf(t, resp.Header.Get("X-Auth-Request-Identity"))
				groups, _ := c["groups"].([]any)
				if c["sub"] != "jane" || (c["groups_omitted"] == true) != (len(groups) < n) || n < 20 && len(groups) < n {
					t.Errorf("%d groups of %s: %d in %v", n, letter, len(groups), c)
				}
			}
		}
	}
}

func TestSigningCostsNothingPerRequest(t *testing.T) {
	f := signs(t)
	f.Endpoint.Count = func(Outcome) {}
	r := nginxRequest("POST", aMCP, "Authorization", "Bearer "+f.token(t, aMCP, "read"))
	f.ask(t, r)
	if n := testing.AllocsPerRun(500, func() {
		q := read(r)
		if d := f.Decide(t.Context(), &q); !d.Allowed() {
			t.Fatal(d.Reason)
		}
	}); n > 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}
