package forwardauth

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

func personOf(email string) token.Person { return token.Person{Email: email} }

func TestCORS(t *testing.T) {
	const page = "https://app.example"
	f := newFixture(t, "a.example/mcp any.example/mcp off.example/mcp", func(uri string, r *rule.Rules) {
		switch {
		case strings.Contains(uri, "a.example"):
			r.AllowedOrigins = []string{"https://other.example", page}
		case strings.Contains(uri, "any"):
			r.AllowedOrigins = []string{"*"}
		}
	})
	asks := []string{"Origin", page, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"}
	for name, tt := range map[string]struct {
		method, host string
		headers      []string
		status       int
		origin       string // in the answer
	}{
		"RS-ERR-10 preflight":                       {"OPTIONS", "a", asks, 200, page},
		"RS-ERR-10 preflight where all are allowed": {"OPTIONS", "any", asks, 200, "*"},
		"preflight where none is allowed":           {"OPTIONS", "off", asks, 401, ""},
		"preflight of another page":                 {"OPTIONS", "a", append([]string{"Origin", "https://evil.example"}, asks[2:]...), 403, ""},
		"preflight of no page":                      {"OPTIONS", "a", asks[2:], 401, ""},
		"OPTIONS that is no preflight":              {"OPTIONS", "a", asks[:2], 401, page},
		"POST that looks like one":                  {"POST", "a", asks, 401, page},
		"preflight with a token":                    {"OPTIONS", "a", append(slices.Clone(asks), "Authorization", "Bearer x"), 401, page},
		"RS-ERR-11 page that is not allowed":        {"POST", "a", []string{"Origin", "https://evil.example"}, 403, ""},
		"RS-ERR-11 sandboxed page":                  {"POST", "a", []string{"Origin", "null"}, 403, ""},
		"RS-ERR-11 two origins":                     {"POST", "a", []string{"Origin", page, "Origin", page}, 403, ""},
		"RS-ERR-11 another port":                    {"POST", "a", []string{"Origin", page + ":8443"}, 403, ""},
		"RS-ERR-11 another scheme":                  {"POST", "a", []string{"Origin", "http://app.example"}, 403, ""},
		"RS-ERR-11 no page":                         {"POST", "a", nil, 401, ""},
		"RS-ERR-11 not looked at":                   {"POST", "off", []string{"Origin", "https://evil.example"}, 401, ""},
		"a denied page may read why":                {"POST", "a", []string{"Origin", page}, 401, page},
	} {
		for _, dialect := range []Dialect{NGINX, Forwarded, EnvoyHTTP, GatewayAPI} {
			t.Run(name+"/"+dialect.String(), func(t *testing.T) {
				r, err := renderings[dialect](where{host: tt.host + ".example", path: "/mcp"}, http.Header{})
				if err != nil {
					t.Fatal(err)
				}
				with(r, tt.headers...)
				switch dialect {
				case NGINX:
					r.Header.Set("X-Original-Method", tt.method)
				case Forwarded:
					r.Header.Set("X-Forwarded-Method", tt.method)
				case EnvoyHTTP:
					r.Method = tt.method
				case GatewayAPI:
					r.Header.Set("Method", tt.method)
				}
				want := tt.status
				resp := f.ask(t, r)
				if resp.StatusCode != want || resp.Header.Get("Access-Control-Allow-Origin") != tt.origin {
					t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
				}
				if exposed := resp.Header.Get("Access-Control-Expose-Headers"); strings.Contains(exposed, "WWW-Authenticate") != (tt.origin != "") {
					t.Errorf("exposed %q", exposed)
				}
				if resp.StatusCode == 200 {
					if resp.Header.Get("X-Auth-Request-User") != "-" {
						t.Errorf("a preflight is by %s, want %q", resp.Header.Get("X-Auth-Request-User"), "-")
					}
					if !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
						t.Errorf("%v", resp.Header)
					}
				}
				if resp.Header.Get("Access-Control-Allow-Credentials") != "" {
					t.Error("cookies are allowed")
				}
			})
		}
	}
	t.Run("the method is the client's, not the gateway's", func(t *testing.T) {
		r := nginxRequest("POST", "https://a.example/mcp", asks...)
		r.Method = "OPTIONS"
		if resp := f.ask(t, r); resp.StatusCode != 401 {
			t.Errorf("status %d, want 401", resp.StatusCode)
		}
	})
}
