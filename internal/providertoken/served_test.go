package providertoken_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// At a served host the server gets the token and never the client's own header, and
// the 401 of a server whose token has died ends the sign-in, once it cannot be the
// server's mistake.
func TestServedHost(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"client", "held"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			var got atomic.Value
			var dead atomic.Bool
			mcp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got.Store(r.Header.Clone())
				if dead.Load() {
					w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="https://evil.example/"`)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
			}))
			t.Cleanup(mcp.Close)
			f := start(t, func(s *providertoken.File) { s.Form = form }, func(c *config.File) {
				c.Proxy.Hosts[0].Endpoint, c.Proxy.Hosts[0].Serve.Enabled = mcp.URL+"/mcp", true
			})
			f.provider.SetLife(30 * time.Minute)
			k := servertest.SignIn(t, f.client)
			call := func() int {
				r := servertest.Request(t, http.MethodPost, servertest.Resource, `{"jsonrpc":"2.0","id":1,"method":"ping"}`,
					"Content-Type", "application/json", "Authorization", "Bearer "+k.Access, header, "forged", header+"-Handle", "forged", strings.ToLower(strings.ReplaceAll(header, "-", "_")), "forged")
				return f.Send(t, r).Status
			}
			if status := call(); status != 200 {
				t.Fatal(status)
			}
			for name, values := range got.Load().(http.Header) {
				if strings.Contains(strings.Join(values, ""), "forged") || strings.Contains(strings.Join(values, ""), k.Access) {
					t.Errorf("the server got %s: %s", name, values)
				}
			}
			if _, _, live := f.provider.Live(got.Load().(http.Header).Get(header)); !live {
				t.Error("the server got no good token")
			}
			dead.Store(true)
			if first, second := call(), call(); first != 502 || second != 502 {
				t.Errorf("a server that refuses a new token: %d %d; want 502, 502", first, second)
			}
			f.Clock.Advance(2 * time.Minute)
			call()
			if status := call(); status != 401 {
				t.Errorf("after a token that died: status %d, want 401", status)
			}
			if e := f.Log.Last(audit.FamilyEnded); e["reason"] != "provider_token_dead" {
				t.Errorf("audit: %v", e)
			}
			k.Refused(t, 400, "invalid_grant", "family_revoked")
		})
	}
}
