package grant

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion/kinds"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/guardtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// ATK-35, AS-JAG-06: an assertion that is shown ten thousand times at once, to three
// replicas with one guard, makes one token; and none while the guard cannot tell.
func TestReplayOverReplicas(t *testing.T) {
	issuer := oauthtest.NewIssuer(t)
	store := new(guardtest.Store)
	replica := func() (*Endpoint, *resource.Host) {
		r := newRevoker(t, 10)
		uri := r.host.Issuer + "/mcp"
		entry := assertion.Config{
			File:      assertion.File{Issuer: issuer.URL, MaxLifetime: time.Hour, TokenLifetime: time.Hour, Rules: []assertion.Rule{{Anyone: true, Scopes: []string{"read"}, Resources: []string{uri}}}},
			Kind:      kinds.All()[1],
			SingleUse: true, Algorithms: []jose.SignatureAlgorithm{jose.ES256}, Namespace: "platform",
		}
		set := jwks.NewSet(issuer.URL, nil, func(jwks.Fetch) {}, time.Now)
		if _, err := set.Load(issuer.JWKS()); err != nil {
			t.Fatal(err)
		}
		e := r.Endpoint
		e.Grants, e.Guard, e.Policy = All(), &guard.Shared{Store: store, Now: time.Now}, policy.New(r.host.Resources, nil, nil)
		e.Assertions = assertion.NewRegistry(kinds.All(), []assertion.Config{entry}, func(*assertion.Config) *jwks.Set { return set }, time.Now)
		return e, r.host
	}
	var replicas []*Endpoint
	var host *resource.Host
	for range 3 {
		var e *Endpoint
		e, host = replica()
		replicas = append(replicas, e)
	}
	ask := func(e *Endpoint, raw string) *httptest.ResponseRecorder {
		form := url.Values{"grant_type": {jwtBearerType}, "assertion": {raw}}
		r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		e.Token(w, r, host)
		return w
	}
	good := func() string {
		return issuer.Token(map[string]any{
			"iss": issuer.URL, "sub": "agent", "aud": host.Issuer, "jti": rand.Text(), "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
		}, map[string]any{"typ": "JWT"})
	}
	const times, workers = 10_000, 30
	raw := good()
	var won, lost, other atomic.Int32
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := worker; i < times; i += workers {
				switch w := ask(replicas[i%3], raw); {
				case w.Code == 200:
					won.Add(1)
				case w.Code == 400 && strings.Contains(w.Body.String(), "invalid_grant"):
					lost.Add(1)
				default:
					other.Add(1)
				}
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != times-1 || other.Load() != 0 {
		t.Errorf("%d won, %d were refused, %d got something else", won.Load(), lost.Load(), other.Load())
	}
	store.SetDown(true)
	if w := ask(replicas[0], good()); w.Code != 503 || !strings.Contains(w.Body.String(), "temporarily_unavailable") {
		t.Errorf("without the guard: %d %s", w.Code, w.Body)
	}
	for key := range store.Keys() {
		if strings.Contains(key, "agent") || strings.Contains(key, issuer.URL) {
			t.Errorf("the store sees %q", key)
		}
	}
}
