package doctor

import (
	"net/http"
	"strings"
	"testing"
)

// Where tokens have to be bound, the doctor signs in with a key of its own, with nonces
// and without.
func TestSignInWithProofs(t *testing.T) {
	for name, sections := range map[string]string{"without nonces": "", "with nonces": "dpop: {nonces: true}\n"} {
		t.Run(name, func(t *testing.T) {
			st := newStackOf(t, ", dpop: required", func(string) string { return sections })
			r := st.run(t, Options{Login: true, Open: signIn(t)})
			if got := faults(r); got != "" {
				t.Errorf("faults in a good set-up: %s\n%s", got, text(r, ""))
			}
			for _, id := range []string{"proofs", "login", "exchange", "session", "stream", "step-up"} {
				if f := finding(r, id); f.Status != Passed {
					t.Errorf("%s: %s %s", id, f.Status, f.Detail)
				}
			}
		})
	}
}

// What goes wrong with proofs on their way.
func TestBrokenProofs(t *testing.T) {
	without := func(match func(*http.Request) bool) func(*stack, http.Handler) http.Handler {
		return func(_ *stack, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if match(r) {
					r.Header.Del("DPoP")
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	token := func(r *http.Request) bool { return r.URL.Path == "/token" }
	for name, b := range map[string]broken{
		"the gateway drops proofs for the MCP server": {want: "session.proof", wrap: without(isMCP)},
		"the gateway drops proofs for /token":         {want: "exchange.refused", wrap: without(token)},
		"the token is not bound":                      {want: "exchange.unbound", wrap: replace("/token", `"token_type":"DPoP"`, `"token_type":"Bearer"`)},
		"no algorithms":                               {want: "proofs.unsupported", wrap: replace("/.well-known/o", "dpop_signing_alg_values_supported", "x")},
		"other algorithms":                            {want: "proofs.algorithms", wrap: replace("/.well-known/o", `"ES256",`, "")},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStackOf(t, ", dpop: required", nil)
			st.put(b.wrap(st, st.good))
			if got := faults(st.run(t, Options{Login: true, Open: signIn(t)})); got != b.want {
				t.Errorf("found %q, want %q", got, b.want)
			}
		})
	}
}

// A challenge of DPoP replaces one of Bearer, or comes beside it (RFC 9449, section
// 7.1).
func TestChallengesOfDPoP(t *testing.T) {
	for line, want := range map[string]struct{ other, metadata string }{
		`Bearer resource_metadata="https://a/m"`:                                                       {"", "https://a/m"},
		`Bearer scope="a b", resource_metadata="https://a/m", DPoP algs="ES256 RS256"`:                 {"dpop", "https://a/m"},
		`DPoP scope="a", resource_metadata="https://a/m", algs="ES256"`:                                {boundOnly, "https://a/m"},
		`DPoP error="invalid_dpop_proof", resource_metadata="https://a/m", algs="ES256 PS256", Bearer`: {"dpop", ""},
		`Basic realm="x"`: {"basic", ""},
	} {
		bearer, other, err := bearerChallenges([]string{line})
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		metadata := ""
		if len(bearer) > 0 {
			metadata = bearer[0]["resource_metadata"]
		}
		if other != want.other || metadata != want.metadata || (len(bearer) == 0) != strings.HasPrefix(line, "Basic") {
			t.Errorf("%s: %v, other %q", line, bearer, other)
		}
	}
}
