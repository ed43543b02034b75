package doctor

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// platform is a stack whose MCP server is open to the workloads of an issuer.
func platform(t *testing.T, host string) (*stack, func(differs map[string]any) string) {
	t.Helper()
	issuer := oauthtest.NewIssuer(t)
	st := newStackOf(t, host, func(mcpURL string) string {
		return fmt.Sprintf("trustedIssuers: [{kind: workload, issuer: %q, rules: [{subjects: [builder], scopes: ['notes:read'], resources: [%q]}]}]\n", issuer.URL, mcpURL)
	})
	return st, func(differs map[string]any) string {
		now := time.Now()
		claims := map[string]any{"iss": issuer.URL, "sub": "builder", "aud": st.origin(), "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
		for name, value := range differs {
			claims[name] = value
		}
		return issuer.Token(claims, map[string]any{"typ": "JWT"})
	}
}

// A workload's token takes the place of a sign-in.
func TestAssertion(t *testing.T) {
	for name, host := range map[string]string{"as Bearer": "", "bound to a key": ", dpop: required"} {
		t.Run(name, func(t *testing.T) {
			st, token := platform(t, host)
			r := st.run(t, Options{Assertion: token(nil)})
			if got := faults(r); got != "" {
				t.Errorf("faults in a good set-up: %s\n%s", got, text(r, ""))
			}
			for _, id := range []string{"machines", "assertion", "exchange", "session", "step-up"} {
				if f := finding(r, id); f.Status != Passed {
					t.Errorf("%s: %s %s", id, f.Status, f.Detail)
				}
			}
			if f := finding(r, "machines"); f.Detail != assertionGrant {
				t.Errorf("machines: %s", f.Detail)
			}
		})
	}
}

func TestBrokenMachines(t *testing.T) {
	metadata := "/.well-known/o"
	refused := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"unsupported_grant_type"}`)
	}
	isGrant := func(r *http.Request) bool {
		if r.URL.Path != "/token" {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		return bytes.Contains(body, []byte("assertion="))
	}
	st, token := platform(t, "")
	for name, b := range map[string]struct {
		broken
		assertion string
	}{
		"the grant is not there":           {broken: broken{want: "machines.unsupported", wrap: when(isGrant, refused)}},
		"any assertion is taken":           {broken: broken{want: "machines.open", wrap: when(isGrant, status(http.StatusOK))}},
		"the profile without the grant":    {broken: broken{want: "machines.profile", wrap: replace(metadata, `"issuer":`, `"authorization_grant_profiles_supported":["`+idJAGProfile+`"],"issuer":`)}},
		"a file with something else":       {broken: broken{want: "assertion.malformed"}, assertion: "not a token"},
		"an assertion for another":         {broken: broken{want: "assertion.audience"}, assertion: token(map[string]any{"aud": "https://other.example"})},
		"an assertion for another as well": {broken: broken{want: "assertion.audience"}, assertion: token(map[string]any{"aud": []string{st.origin(), "https://other.example"}})},
		"an assertion for the MCP server":  {broken: broken{want: "assertion.audience"}, assertion: token(map[string]any{"aud": st.mcpURL})},
		"an old assertion":                 {broken: broken{want: "assertion.expired"}, assertion: token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})},
		"an assertion that no rule has":    {broken: broken{want: "assertion.refused"}, assertion: token(map[string]any{"sub": "visitor"})},
	} {
		t.Run(name, func(t *testing.T) {
			front := st.good
			if b.wrap != nil {
				front = b.wrap(st, st.good)
			}
			if strings.Contains(b.want, "profile") {
				front = replace(metadata, assertionGrant, "x")(st, front)
			}
			st.put(front)
			r := st.run(t, Options{Assertion: b.assertion})
			if got := faults(r); got != b.want {
				t.Errorf("found %q, want %q\n%s", got, b.want, text(r, ""))
			}
		})
	}
}
