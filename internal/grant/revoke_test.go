package grant

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// What only a list of no places shows: the rest is in package server's tests.
func TestRevocationListFull(t *testing.T) {
	table, err := resource.NewTable([]config.Host{{Host: "mcp.example.com", Scheme: "https", Path: "/mcp", Endpoint: new(url.URL)}})
	if err != nil {
		t.Fatal(err)
	}
	host := table.Host("mcp.example.com")
	sealing, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyset.New(keyset.Options{Sources: []keyset.Source{keyset.Ephemeral{}}, Period: time.Hour, TokenLifetime: time.Hour, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	clients := &registration.Clients{Dynamic: &registration.Dynamic{Keys: sealing, Now: time.Now}}
	registered, err := clients.Dynamic.Register(host, registration.Request{RedirectURIs: []string{"https://app.example.org/cb"}, AuthMethod: "none"})
	if err != nil {
		t.Fatal(err)
	}
	persons := token.NewPersons(sealing)
	e := &Endpoint{
		Clients: clients, Failures: NewFailures(time.Now), Now: time.Now, Ended: revocation.New(0, time.Now),
		Tokens:   &token.Issuer{Keys: keys, Persons: persons, Lifetime: time.Hour, Now: time.Now},
		Verifier: &token.Verifier{Keys: keys, Persons: persons, Now: time.Now},
		Refresh:  NewRefresh(sealing, Refresh{Idle: time.Hour, Absolute: time.Hour, Now: time.Now}),
	}
	access, _, err := e.Tokens.Mint(token.Claims{Issuer: host.Issuer, Subject: "x:y", Audience: host.Issuer + "/mcp", ClientID: registered.ClientID}, token.Person{})
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := e.Refresh.seal(&call{host: host}, refreshToken{
		Family: "f", ClientKey: (&registration.Client{ID: registered.ClientID}).Key(), AuthTime: time.Now().Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{"access token": access, "refresh token": refresh} {
		t.Run("AS-REV-04 "+name+" cannot be revoked right now", func(t *testing.T) {
			form := url.Values{"token": {raw}, "client_id": {registered.ClientID}}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://mcp.example.com/revoke", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			e.Revoke(w, r, host)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "temporarily_unavailable") {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
		})
	}
}
