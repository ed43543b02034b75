package grant

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// revoker is an endpoint with one client, and what it needs to make tokens.
type revoker struct {
	*Endpoint
	host     *resource.Host
	clientID string
}

func newRevoker(t testing.TB, places int) *revoker {
	t.Helper()
	table, err := resource.NewTable([]resource.Entry{{Host: "mcp.example.com", Scheme: "https", Path: "/mcp", Endpoint: new(url.URL)}})
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
		Clients: clients, Failures: NewFailures(time.Now), Now: time.Now, Ended: revocation.New(places, time.Now), Revocations: NewRevocations(time.Now),
		Tokens:   &token.Issuer{Keys: keys, Persons: persons, Lifetime: time.Hour, Now: time.Now},
		Verifier: &token.Verifier{Keys: keys, Persons: persons, Now: time.Now},
		Refresh:  NewRefresh(sealing, Refresh{Idle: time.Hour, Absolute: time.Hour, Now: time.Now}),
	}
	return &revoker{e, host, registered.ClientID}
}

func (r *revoker) access(t *testing.T, family string) string {
	t.Helper()
	raw, _, err := r.Tokens.Mint(token.Claims{Issuer: r.host.Issuer, Subject: "x:y", Audience: r.host.Issuer + "/mcp", ClientID: r.clientID, Family: family}, token.Person{})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (r *revoker) refresh(t *testing.T, family, subject string) string {
	t.Helper()
	raw, err := r.Refresh.seal(&call{host: r.host}, refreshToken{
		Family: family, ClientKey: (&registration.Client{ID: r.clientID}).Key(), AuthTime: time.Now().Unix(),
		Namespace: "x", Subject: subject,
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (r *revoker) revoke(t *testing.T, raw string) *httptest.ResponseRecorder {
	t.Helper()
	form := url.Values{"token": {raw}, "client_id": {r.clientID}}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://mcp.example.com/revoke", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	r.Revoke(w, req, r.host)
	return w
}

// What only a list of no places shows: the rest is in package server's tests.
func TestRevocationListFull(t *testing.T) {
	r := newRevoker(t, 0)
	for name, raw := range map[string]string{"access token": r.access(t, ""), "refresh token": r.refresh(t, "f", "y")} {
		t.Run("AS-REV-04 "+name+" cannot be revoked right now", func(t *testing.T) {
			w := r.revoke(t, raw)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "temporarily_unavailable") {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
		})
	}
}

// One person could fill everybody's list: revoke, refresh, and again.
func TestOnePersonDoesNotFillTheList(t *testing.T) {
	t.Run("many access tokens of one sign-in end the sign-in", func(t *testing.T) {
		r := newRevoker(t, 10_000)
		for range 200 {
			raw := r.access(t, "family")
			if w := r.revoke(t, raw); w.Code != http.StatusOK {
				t.Fatalf("%d, want %v: %s", w.Code, http.StatusOK, w.Body)
			}
			claims, err := r.Verifier.Open(raw, r.host.Issuer)
			if err != nil || r.Ended.Check(revocation.Facts{TokenID: claims.ID, Family: claims.Family}) == revocation.None {
				t.Fatalf("a token lives on (%v)", err)
			}
		}
		if n := r.Ended.Len(); n != 61 {
			t.Errorf("%d entries, want 61", n)
		}
	})
	t.Run("many sign-ins of one person", func(t *testing.T) {
		r := newRevoker(t, 10_000)
		for i := range 400 {
			w := r.revoke(t, r.refresh(t, strconv.Itoa(i), "y"))
			if want := map[bool]int{true: 200, false: 429}[i < 300]; w.Code != want {
				t.Fatalf("revocation %d: %d %s", i, w.Code, w.Body)
			}
		}
		if w := r.revoke(t, r.refresh(t, "7", "y")); w.Code != http.StatusOK {
			t.Errorf("one that is revoked already: %d, want %v", w.Code, http.StatusOK)
		}
		if w := r.revoke(t, r.refresh(t, "other", "z")); w.Code != http.StatusOK {
			t.Errorf("another person: %d, want %v", w.Code, http.StatusOK)
		}
	})
}
