//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// The conformance suite's scenarios for clients without a person, and for clients with
// DPoP, test a client, at servers of its own. Here each client goes there first, so
// that it is the suite that says whether it is a good one or which mistake it makes.
// Then the same client goes to the service: a good one must get in, and one that the
// suite finds a mistake in must be refused for that mistake.

// scenario is one of the suite, with a client.
type scenario struct {
	name   string
	script string
	env    []string
	// broken is the check that the suite fails it in, "" for a good client.
	broken string
	// reason is why the service refuses it, "" where it gets in.
	reason string
}

// judged has the suite say of a client what s expects.
func (s scenario) judged(t *testing.T) {
	t.Helper()
	args := []string{s.name, t.TempDir(), s.script}
	if slices.ContainsFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "SPOIL=") }) {
		args = append(args, "spoiled.mjs")
	}
	r := drive[struct {
		Exit   int
		Checks []string
		Output string
	}](t, "client-suite.mjs", s.env, args...)
	failed := slices.ContainsFunc(r.Checks, func(c string) bool { return !strings.HasSuffix(c, " SUCCESS") })
	switch {
	case s.broken == "" && (failed || r.Exit != 0 || len(r.Checks) < 4):
		t.Errorf("the suite says %d %q\n%s", r.Exit, r.Checks, r.Output)
	case s.broken != "" && !slices.Contains(r.Checks, s.broken+" FAILURE"):
		t.Errorf("the suite does not say that %s fails: %q", s.broken, r.Checks)
	}
	t.Logf("the suite: %d checks, %q", len(r.Checks), s.broken)
}

// visits has the client of s go to the service, and returns what it printed.
func (s scenario) visits(t *testing.T, st *stack, more ...string) (said string) {
	t.Helper()
	before := len(st.logs())
	args, env := []string{st.statelessURL}, append(more, s.env...)
	if slices.ContainsFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "SPOIL=") }) {
		env = append(env, "NODE_OPTIONS=--import "+filepath.Join(drivers, "spoiled.mjs"))
	}
	_, said, err := attempted[struct{}](t, s.script, env, args...)
	logs := st.logs()[before:]
	switch {
	case s.reason == "" && err != nil:
		t.Errorf("it does not get in: %v %s\n%s", err, said, logs)
	case s.reason != "" && (err == nil || !strings.Contains(logs, `"`+s.reason+`"`)):
		t.Errorf("it is not refused for %s: %v %s\n%s", s.reason, err, said, logs)
	}
	return said
}

// machineReport is the line that hack/e2e/machine-client.mjs prints.
type machineReport struct {
	Tools  []string `json:"tools"`
	Whoami *struct {
		User string `json:"user"`
	} `json:"whoami"`
	Scope        string `json:"scope"`
	RefreshToken bool   `json:"refreshToken"`
	Error        string `json:"error"`
}

const jagSecret = "a-secret-of-the-enterprise-client"

// platforms are who vouches for clients: a platform of workloads, and an identity
// provider that exchanges its ID tokens for ID-JAGs.
type platforms struct {
	workloads, provider *oauthtest.Issuer
	key                 string // in PEM, of the client with one
}

// startPlatforms starts them, with a stack that knows all of these clients.
func startPlatforms(t *testing.T) (*platforms, *stack) {
	t.Helper()
	p := &platforms{workloads: oauthtest.NewIssuer(t), provider: oauthtest.NewIssuer(t)}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	p.key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &private.PublicKey, Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	keys, secret := write(t, "keys.json", string(set)), write(t, "secret", jagSecret)
	return p, newStack(t, setup{provider: "static", change: func(file map[string]any) {
		resource := "http://" + file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["host"].(string) + "/mcp"
		own := func(id string, more map[string]any) map[string]any {
			client := map[string]any{"id": id, "grantTypes": []string{"client_credentials"}, "scopes": []string{scopeRead}, "resources": []string{resource}}
			maps.Copy(client, more)
			return client
		}
		file["clients"] = []any{
			own("nightly", map[string]any{"secretFiles": []string{secret}}), own("signing", map[string]any{"jwksFile": keys}),
			map[string]any{"id": "enterprise", "secretFiles": []string{secret}, "grantTypes": []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}},
		}
		file["trustedIssuers"] = []any{
			map[string]any{"kind": "workload", "issuer": p.workloads.URL, "rules": []any{map[string]any{"subjects": []string{"agent-1"}, "scopes": []string{scopeRead}, "resources": []string{resource}}}},
			map[string]any{"kind": "id-jag", "issuer": p.provider.URL, "rules": []any{map[string]any{"anyone": true, "scopes": []string{scopeRead}, "resources": []string{resource}}}},
		}
	}})
}

// exchanges is the provider's token endpoint (RFC 8693), with what the client has to
// say there as ID-JAG demands it.
func (p *platforms) exchanges(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" || r.FormValue("subject_token") != "the-id-token" ||
			r.FormValue("requested_token_type") != "urn:ietf:params:oauth:token-type:id-jag" {
			http.Error(w, `{"error": "invalid_request"}`, http.StatusBadRequest)
			return
		}
		claims := p.claims(p.provider, r.FormValue("audience"))
		claims["sub"], claims["client_id"], claims["resource"], claims["scope"] = "alice-1", "enterprise", r.FormValue("resource"), scopeRead
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token":      p.provider.Token(claims, map[string]any{"typ": "oauth-id-jag+jwt"}),
			"issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A", "expires_in": 300,
		})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func (p *platforms) claims(of *oauthtest.Issuer, audience string) map[string]any {
	now := time.Now()
	return map[string]any{"iss": of.URL, "sub": "agent-1", "aud": audience, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
}

// context is what the suite would hand to the client of a scenario, with what is known
// at this service.
func (p *platforms) context(t *testing.T, scenario, issuer string) string {
	t.Helper()
	jwt := func(audience string, age time.Duration) string {
		claims := p.claims(p.workloads, audience)
		claims["iat"], claims["exp"] = time.Now().Add(-age).Unix(), time.Now().Add(5*time.Minute-age).Unix()
		return p.workloads.Token(claims, map[string]any{"typ": "JWT"})
	}
	given := map[string]map[string]any{
		"auth/client-credentials-basic": {"client_id": "nightly", "client_secret": jagSecret},
		"auth/client-credentials-jwt":   {"client_id": "signing", "private_key_pem": p.key, "signing_algorithm": "ES256"},
		"auth/enterprise-managed-authorization": {
			"client_id": "enterprise", "client_secret": jagSecret, "idp_client_id": "at-the-provider", "idp_id_token": "the-id-token", "idp_issuer": p.provider.URL, "idp_token_endpoint": p.exchanges(t),
		},
		"auth/wif-jwt-bearer": {"client_id": "", "valid_jwt": jwt(issuer, 0), "wrong_audience_jwt": jwt("https://wrong.example", 0), "expired_jwt": jwt(issuer, time.Hour)},
	}[scenario]
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Clients without a person.
func TestConformanceSuiteMachines(t *testing.T) {
	p, st := startPlatforms(t)
	const client = "machine-client.mjs"
	users := map[string]string{
		"auth/client-credentials-basic": "client:nightly", "auth/client-credentials-jwt": "client:signing",
		"auth/enterprise-managed-authorization": host(p.provider.URL) + ":alice-1", "auth/wif-jwt-bearer": host(p.workloads.URL) + ":agent-1",
	}
	for _, s := range []scenario{
		{name: "auth/client-credentials-basic", script: client},
		{name: "auth/client-credentials-jwt", script: client},
		{name: "auth/enterprise-managed-authorization", script: client},
		{name: "auth/wif-jwt-bearer", script: client},
		{name: "auth/wif-jwt-bearer", script: client, env: []string{"ASSERTION=wrong_audience_jwt"}, broken: "wif-assertion-audience", reason: "invalid_assertion"},
		{name: "auth/wif-jwt-bearer", script: client, env: []string{"ASSERTION=expired_jwt"}, broken: "wif-assertion-expired", reason: "invalid_assertion"},
		{name: "auth/wif-jwt-bearer", script: client, env: []string{"ASSERTION=none"}, broken: "wif-assertion-missing", reason: "invalid_request"},
	} {
		t.Run(strings.Join(append([]string{s.name}, s.env...), " "), func(t *testing.T) {
			s.judged(t)
			said := s.visits(t, st, "MCP_CONFORMANCE_SCENARIO="+s.name, "MCP_CONFORMANCE_CONTEXT="+p.context(t, s.name, origin(st.statelessURL)))
			if s.reason != "" {
				return
			}
			var got machineReport
			if err := json.NewDecoder(strings.NewReader(said)).Decode(&got); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			if got.Whoami == nil || got.Whoami.User != users[s.name] || got.Scope != scopeRead || got.RefreshToken || !slices.Contains(got.Tools, "read_notes") {
				t.Errorf("%s", said)
			}
		})
	}
}

// host is what subjects of an issuer begin with.
func host(issuer string) string { return strings.TrimPrefix(issuer, "http://") }

// Clients with DPoP, where nothing but bound tokens with nonces is taken.
func TestConformanceSuiteProofs(t *testing.T) {
	st := withProofs(t, gatewayKinds[slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.name == "nginx" })], "required", true)
	plain, nonces := "auth/dpop", "auth/dpop-nonce"
	spoilt := func(how string) []string { return []string{"DPOP=1", "SPOIL=" + how} }
	for _, s := range []scenario{
		{name: plain, env: []string{"DPOP=1"}},
		{name: nonces, env: []string{"DPOP=1"}},
		{name: plain, env: spoilt("bearer"), broken: "sep-1932-client-dpop-auth-scheme", reason: "bound_token_as_bearer"},
		{name: plain, env: spoilt("replay"), broken: "sep-1932-client-fresh-proof", reason: "dpop_proof_replayed"},
		{name: plain, env: spoilt("no-token-proof"), broken: "sep-1932-client-token-request-proof", reason: "dpop_proof_missing"},
		{name: nonces, env: spoilt("no-as-nonce"), broken: "sep-1932-client-as-nonce", reason: "dpop_nonce_needed"},
		// The nonce of the token endpoint is good at the MCP server of the same origin.
		{name: nonces, env: spoilt("no-rs-nonce"), broken: "sep-1932-client-rs-nonce"},
	} {
		s.script = "ts-client.mjs"
		t.Run(strings.Join(append([]string{s.name}, s.env...), " "), func(t *testing.T) {
			s.judged(t)
			s.visits(t, st)
		})
	}
}
