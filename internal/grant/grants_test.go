package grant

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

const fake = "urn:example:fake"

// fakeGrant gives every client of it the same answer.
var fakeGrant = Grant{Type: fake, registrable: true, serve: func(_ *Endpoint, c *call) (*Response, error) {
	return &Response{AccessToken: "fake for " + c.client.Name}, nil
}}

// withFake returns an endpoint with one more grant, and its clients.
func withFake(t *testing.T) (*Endpoint, *registration.Dynamic, *resource.Host) {
	t.Helper()
	keys, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	host, err := resource.NewHost("mcp.example.com", "https")
	if err != nil {
		t.Fatal(err)
	}
	grants := append(All(), fakeGrant) // the one line
	dynamic := &registration.Dynamic{Keys: keys, Now: time.Now, Grants: Types(grants, Registrable)}
	return &Endpoint{Grants: grants, Clients: &registration.Clients{Dynamic: dynamic}, Failures: NewFailures(time.Now), Now: time.Now, Audit: &audit.Log{}}, dynamic, host
}

func ask(e *Endpoint, host *resource.Host, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	e.Token(w, r, host)
	return w
}

// One more entry in the list of grants is served, named by discovery, and can be
// registered. Clients that did not register it may not use it.
func TestAnotherGrant(t *testing.T) {
	e, dynamic, host := withFake(t)
	if got := e.GrantTypes(host); !slices.Equal(got, []string{"authorization_code", fake}) {
		t.Errorf("named: %q", got)
	}
	register := func(name string, grants ...string) registration.Response {
		resp, err := dynamic.Register(host, registration.Request{ClientName: name, RedirectURIs: []string{"http://127.0.0.1/cb"}, GrantTypes: grants})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	with, without := register("with", "authorization_code", fake, "unknown"), register("without", "authorization_code", "refresh_token")
	if want := []string{"authorization_code", fake}; !slices.Equal(with.GrantTypes, want) {
		t.Errorf("registered %q, want %q", with.GrantTypes, want)
	}
	if want := []string{"authorization_code", "refresh_token"}; !slices.Equal(without.GrantTypes, want) {
		t.Errorf("registered %q, want %q", without.GrantTypes, want)
	}
	for _, test := range []struct {
		name, client, grant string
		status              int
		body                string
	}{
		{"registered", with.ClientID, fake, 200, `"access_token":"fake for with"`},
		{"not registered", without.ClientID, fake, 400, `"error":"unauthorized_client"`},
		{"no such grant", with.ClientID, "password", 400, "grant_type must be one of authorization_code, " + fake},
		{"not offered", without.ClientID, "refresh_token", 400, `"error":"unsupported_grant_type"`},
		{"none", with.ClientID, "", 400, "grant_type is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := ask(e, host, url.Values{"client_id": {test.client}, "grant_type": {test.grant}})
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	// Once the grant is gone, so is it from what clients registered.
	dynamic.Grants, e.Grants = Types(All(), Registrable), All()
	if w := ask(e, host, url.Values{"client_id": {with.ClientID}, "grant_type": {fake}}); w.Code != 400 || !strings.Contains(w.Body.String(), "unsupported_grant_type") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if c, err := dynamic.Client(host, with.ClientID); err != nil || c.MayUse(fake) {
		t.Errorf("%v %v", c, err)
	}
}

// A grant that says nothing of itself is open to no client that did not register
// it, and cannot be registered.
func TestGrantsAreClosedByDefault(t *testing.T) {
	g := Grant{Type: "x"}
	if Registrable(g) || SignIn(g) {
		t.Error(g)
	}
	if got := Types(append(All(), g), Registrable); slices.Contains(got, "x") {
		t.Error(got)
	}
}
