package authorize

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// trusted is a client that the operator vouches for, so that errors are
// redirected; it is found by any id but "".
type trusted struct{ uris []string }

func (t trusted) Client(_ context.Context, _ *resource.Host, id string) (*registration.Client, error) {
	if id == "" {
		return nil, registration.ErrUnknown
	}
	return &registration.Client{ID: id, RedirectURIs: t.uris, AuthMethod: registration.AuthNone, GrantTypes: []string{"authorization_code"}, Trusted: true}, nil
}

// FuzzParse: whatever the query, a redirect goes to a registered URI (or one
// that differs in its loopback port), and a repeated parameter never passes.
func FuzzParse(f *testing.F) {
	registered := []string{"https://client.example/cb?x=1", "http://localhost/callback", "cursor://anysphere.cursor-mcp/oauth/callback"}
	hosts := []resource.Entry{{Host: "mcp.example.com", Scheme: "https", Path: "/mcp", Endpoint: &url.URL{Scheme: "http", Host: "mcp"}}}
	table, err := resource.NewTable(hosts)
	if err != nil {
		f.Fatal(err)
	}
	host := table.Host("mcp.example.com")
	keys, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("k", 32)))
	if err != nil {
		f.Fatal(err)
	}
	e := &Endpoint{
		Clients:   trusted{registered},
		Policy:    policy.New(table.All(), nil, nil),
		Catalogue: func(context.Context, *resource.Resource) *catalog.Catalogue { return catalog.Baseline() },
		Steps:     NewSteps(keys, time.Now), Pages: page.New(page.Brand{}), Audit: &audit.Log{Logger: slog.New(slog.DiscardHandler)}, Now: time.Now,
	}
	challenge := oauth.S256(strings.Repeat("v", 43))
	good := url.Values{
		"client_id": {"c"}, "redirect_uri": {registered[0]}, "response_type": {"code"}, "state": {"s"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}, "resource": {"https://mcp.example.com/mcp"},
	}
	f.Add(good.Encode())
	f.Add("client_id=c&redirect_uri=http%3A%2F%2Flocalhost%3A1234%2Fcallback&response_type=token")
	f.Add("client_id=c&redirect_uri=https%3A%2F%2Fclient.example%2Fcb%3Fx%3D1&prompt=none&state=%0d%0aX")
	f.Add("client_id=c&client_id=c&redirect_uri=cursor:%2f%2fanysphere.cursor-mcp/oauth/callback")
	f.Fuzz(func(t *testing.T, query string) {
		r := &http.Request{Method: http.MethodGet, Host: "mcp.example.com", URL: &url.URL{Path: Path, RawQuery: query}, Header: http.Header{}}
		w := httptest.NewRecorder()
		e.Authorize(w, r, host)
		values, parseErr := url.ParseQuery(query)
		if w.Code == http.StatusOK {
			if parseErr != nil {
				t.Fatalf("a malformed query passed: %q", query)
			}
			for name, vs := range values {
				if len(vs) > 1 && name != "resource" {
					t.Fatalf("%s came %d times and passed", name, len(vs))
				}
			}
		}
		location := w.Header().Get("Location")
		if location == "" {
			return
		}
		if strings.ContainsAny(location, "\r\n") {
			t.Fatalf("Location %q", location)
		}
		target := values.Get("redirect_uri")
		if _, ok := oauth.MatchRedirectURI(registered, target); !ok || !strings.HasPrefix(location, target) {
			t.Fatalf("%q was redirected to %q", query, location)
		}
		sent, err := url.ParseQuery(location[strings.IndexByte(location, '?')+1:])
		if err != nil || sent.Get("error") == "" || sent.Get("iss") != host.Issuer {
			t.Fatalf("Location %q", location)
		}
		if state := values["state"]; len(state) == 1 && state[0] != "" && !slices.Equal(sent["state"], state) && sent.Get("error") != string(oauth.InvalidRequest) {
			t.Fatalf("state %q came back as %q", state, sent["state"])
		}
	})
}
