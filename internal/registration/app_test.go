package registration

import (
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// A public client that registers again with the same words is the same app, and
// every other id stands for itself.
func TestApp(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	sealing, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("only for tests! ", 4)))
	if err != nil {
		t.Fatal(err)
	}
	d := Dynamic{Keys: sealing, Now: func() time.Time { now = now.Add(time.Minute); return now }, Grants: []string{authorizationCode, refreshToken}}
	register := func(edit func(*Request)) string {
		t.Helper()
		req := Request{RedirectURIs: []string{"http://127.0.0.1/callback"}, ClientName: "notes"}
		if edit != nil {
			edit(&req)
		}
		r, err := d.Register(&resource.Host{Issuer: "https://mcp.example.com"}, req)
		if err != nil {
			t.Fatal(err)
		}
		return r.ClientID
	}
	first, again := register(nil), register(nil)
	if first == again || App(first) != App(again) || App(first) == first {
		t.Errorf("%q and %q", App(first), App(again))
	}
	for name, edit := range map[string]func(*Request){
		"name":     func(r *Request) { r.ClientName = "others" },
		"redirect": func(r *Request) { r.RedirectURIs = []string{"http://127.0.0.1/other"} },
		"grants":   func(r *Request) { r.GrantTypes = []string{authorizationCode} },
		"secret":   func(r *Request) { r.AuthMethod = AuthSecretBasic },
	} {
		if App(register(edit)) == App(first) {
			t.Errorf("with another %s it is the same", name)
		}
	}
	if secret := register(func(r *Request) { r.AuthMethod = AuthSecretPost }); App(secret) != secret {
		t.Error("a client with a secret is taken for another one")
	}
	for _, id := range []string{"https://claude.ai/client.json", "configured", "dcr1.", "dcr1.nonsense", ""} {
		if App(id) != id {
			t.Errorf("%q became %q", id, App(id))
		}
	}
}
