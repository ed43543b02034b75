package grant_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const (
	mcp      = "https://" + servertest.Host + "/mcp"
	tokenURL = "https://" + servertest.Host + "/token"
)

// withDPoP starts a service whose MCP server takes bound tokens.
func withDPoP(t *testing.T, mode string, edits ...func(*config.File)) *servertest.Service {
	t.Helper()
	edits = append(edits, func(f *config.File) {
		for i := range f.Proxy.Hosts {
			f.Proxy.Hosts[i].DPoP = mode
		}
	})
	return servertest.Start(t, servertest.Options{Edit: servertest.Edits(edits...)})
}

// newKey returns a client's key, with the clock of the service.
func newKey(s *servertest.Service) *dpoptest.Key {
	k := dpoptest.New("ES256")
	k.Now = s.Clock.Now
	return k
}

// send sends a form to the token endpoint with DPoP headers.
func send(t *testing.T, s *servertest.Service, form url.Values, proofs ...string) *servertest.Answer {
	t.Helper()
	req := servertest.Request(t, http.MethodPost, tokenURL, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	for _, p := range proofs {
		req.Header.Add("DPoP", p)
	}
	return s.Send(t, req)
}

// claimsOf reads what an access token says.
func claimsOf(t *testing.T, raw string) (claims struct {
	Confirmation struct {
		JKT string `json:"jkt"`
	} `json:"cnf"`
}) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", raw)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// signInBound goes the whole way with proofs of k.
func signInBound(t *testing.T, c *servertest.Client, k *dpoptest.Key) servertest.Tokens {
	t.Helper()
	a := c.Begin()
	answer := send(t, c.Service, a.TokenForm(a.Code(t, c.Service.NewBrowser())), k.Proof("POST", tokenURL))
	if answer.Status != 200 || answer.String("token_type") != "DPoP" {
		t.Fatalf("status %d, want 200: %s", answer.Status, answer.Body)
	}
	return servertest.Tokens{Client: c, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
}

func refusedToken(t *testing.T, s *servertest.Service, a *servertest.Answer, code, reason string) {
	t.Helper()
	if a.Status != 400 || a.String("error") != code || a.JSON["access_token"] != nil {
		t.Errorf("%d %s, want %s", a.Status, a.Body, code)
	}
	if e := s.Log.Last(audit.TokenRefused); e["reason"] != reason {
		t.Errorf("audit says %q, want %q", e["reason"], reason)
	}
}

func TestBoundAccessToken(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "accepted")
	c, k := s.NewClient(t, servertest.Host, nil), newKey(s)
	tokens := signInBound(t, c, k)
	if got := claimsOf(t, tokens.Access).Confirmation.JKT; got != k.Thumbprint() {
		t.Errorf("AS-DPOP-04 bound to %q", got)
	}
	ask := func(authorization string, proofs ...string) *servertest.Answer {
		req := servertest.Request(t, http.MethodGet, "https://"+servertest.Host+"/authenticate", "",
			"X-Original-URL", mcp, "X-Original-Method", "POST", "Authorization", authorization)
		for _, p := range proofs {
			req.Header.Add("DPoP", p)
		}
		return s.Send(t, req)
	}
	if a := ask("DPoP "+tokens.Access, k.Proof("POST", mcp, dpoptest.Token(tokens.Access))); a.Status != 200 {
		t.Errorf("RS-DPOP-01 status %d, want 200: %s", a.Status, a.Body)
	}
	if a := ask("Bearer "+tokens.Access, k.Proof("POST", mcp, dpoptest.Token(tokens.Access))); a.Status != 401 || a.String("error") != "invalid_token" {
		t.Errorf("RS-DPOP-03 status %d, want 401: %s", a.Status, a.Body)
	}
	if a := ask("DPoP "+tokens.Access, k.Proof("GET", "https://"+servertest.Host+"/authenticate", dpoptest.Token(tokens.Access))); a.Status != 401 || a.String("error") != "invalid_dpop_proof" {
		t.Errorf("RS-DPOP-01 a proof for /authenticate: status %d, want 401: %s", a.Status, a.Body)
	}
	// Who sends no proof gets an ordinary token.
	ordinary := servertest.SignIn(t, c)
	if got := claimsOf(t, ordinary.Access).Confirmation.JKT; got != "" {
		t.Errorf("bound to %q without a proof, want %q", got, "")
	}
	s.MustPass(t, mcp, ordinary.Access)
}

func TestProofsAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "accepted")
	c, k := s.NewClient(t, servertest.Host, nil), newKey(s)
	a := c.Begin()
	form := a.TokenForm(a.Code(t, s.NewBrowser()))
	for name, tt := range map[string]struct {
		proofs []string
		reason string
	}{
		"two proofs":      {[]string{k.Proof("POST", tokenURL), k.Proof("POST", tokenURL)}, "dpop_proof_repeated"},
		"an empty header": {[]string{""}, "dpop_proof_malformed"},
		"no JWT":          {[]string{"a.b"}, "dpop_proof_malformed"},
		"GET":             {[]string{k.Proof("GET", tokenURL)}, "dpop_proof_method"},
		"/authorize":      {[]string{k.Proof("POST", "https://"+servertest.Host+"/authorize")}, "dpop_proof_url"},
		"another host":    {[]string{k.Proof("POST", "https://other.example.com/token")}, "dpop_proof_url"},
		"an old one":      {[]string{k.Proof("POST", tokenURL, dpoptest.Claim("iat", s.Clock.Now().Add(-6*time.Minute).Unix()))}, "dpop_proof_time"},
		"one to come":     {[]string{k.Proof("POST", tokenURL, dpoptest.Claim("iat", s.Clock.Now().Add(6*time.Minute).Unix()))}, "dpop_proof_time"},
		"no jti":          {[]string{k.Proof("POST", tokenURL, dpoptest.Claim("jti", nil))}, "dpop_proof_malformed"},
		"none":            {[]string{k.Proof("POST", tokenURL, dpoptest.InHeader("alg", "none"))}, "dpop_proof_algorithm"},
		"HS256":           {[]string{k.Proof("POST", tokenURL, dpoptest.InHeader("alg", "HS256"))}, "dpop_proof_algorithm"},
		"a private key":   {[]string{k.Proof("POST", tokenURL, dpoptest.InKey("d", "AAAA"))}, "dpop_proof_key"},
		"another's key":   {[]string{k.Proof("POST", tokenURL, dpoptest.InHeader("jwk", newKey(s).JWK()))}, "dpop_proof_signature"},
		"typ":             {[]string{k.Proof("POST", tokenURL, dpoptest.InHeader("typ", "JWT"))}, "dpop_proof_type"},
	} {
		t.Run("AS-DPOP-01 AS-DPOP-02 "+name, func(t *testing.T) {
			refusedToken(t, s, send(t, s, form, tt.proofs...), "invalid_dpop_proof", tt.reason)
		})
	}
	// None of that spent the code, and a query is no part of the URL.
	if got := send(t, s, form, k.Proof("POST", "HTTPS://MCP.example.com:443/token?x")); got.Status != 200 || got.String("token_type") != "DPoP" {
		t.Errorf("AS-DPOP-02 status %d, want 200: %s", got.Status, got.Body)
	}
}

// A proof is good for one token, also where many ask at once.
func TestProofAtTheTokenEndpointIsUsedOnce(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "accepted")
	c, k := s.NewClient(t, servertest.Host, nil), newKey(s)
	proof := k.Proof("POST", tokenURL)
	var forms []url.Values
	for range 4 {
		a := c.Begin()
		forms = append(forms, a.TokenForm(a.Code(t, s.NewBrowser())))
	}
	var good, replayed atomic.Int32
	var all sync.WaitGroup
	for _, form := range forms {
		all.Go(func() {
			switch a := send(t, s, form, proof); {
			case a.Status == 200:
				good.Add(1)
			case a.String("error") == "invalid_dpop_proof":
				replayed.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 || replayed.Load() != 3 {
		t.Errorf("ATK-35 %d tokens, %d refusals; want 1, 3", good.Load(), replayed.Load())
	}
}

func TestDPoPRequired(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "required")
	c, k := s.NewClient(t, servertest.Host, nil), newKey(s)
	a := c.Begin()
	form := a.TokenForm(a.Code(t, s.NewBrowser()))
	refusedToken(t, s, send(t, s, form), "invalid_dpop_proof", "dpop_proof_missing")
	if got := send(t, s, form, k.Proof("POST", tokenURL)); got.Status != 200 || got.String("token_type") != "DPoP" {
		t.Errorf("status %d, want 200: %s", got.Status, got.Body)
	}
}

func TestDPoPIsOff(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "off")
	c := s.NewClient(t, servertest.Host, servertest.Metadata{"dpop_bound_access_tokens": true})
	if c.Registration.JSON["dpop_bound_access_tokens"] != nil {
		t.Errorf("AS-DPOP-05 the registration promises bound tokens: %s", c.Registration.Body)
	}
	a := c.Begin().With("dpop_jkt", "nonsense")
	got := send(t, s, a.TokenForm(a.Code(t, s.NewBrowser())), "nonsense", "twice")
	if got.Status != 200 || got.String("token_type") != "Bearer" {
		t.Errorf("AS-DPOP-05 status %d, want 200: %s", got.Status, got.Body)
	}
}

// A client may want bound tokens only: it says so when it registers, in its metadata
// document, or the operator says so.
func TestClientWithBoundTokensOnly(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "accepted")
	c, k := s.NewClient(t, servertest.Host, servertest.Metadata{"dpop_bound_access_tokens": true}), newKey(s)
	if c.Registration.JSON["dpop_bound_access_tokens"] != true {
		t.Errorf("AS-DPOP-05 the registration does not say so: %s", c.Registration.Body)
	}
	a := c.Begin()
	form := a.TokenForm(a.Code(t, s.NewBrowser()))
	refusedToken(t, s, send(t, s, form), "invalid_dpop_proof", "dpop_proof_missing")
	if got := send(t, s, form, k.Proof("POST", tokenURL)); got.Status != 200 || got.String("token_type") != "DPoP" {
		t.Errorf("AS-DPOP-05 status %d, want 200: %s", got.Status, got.Body)
	}
	for _, wrong := range []any{"true", 1, []bool{true}} {
		if a := s.Register(t, servertest.Host, servertest.Metadata{"dpop_bound_access_tokens": wrong}); a.Status != 400 || a.String("error") != "invalid_client_metadata" {
			t.Errorf("%v: %d %s", wrong, a.Status, a.Body)
		}
	}
}

// The authorization request may name the key already (RFC 9449, section 10).
func TestCodeBoundToAKey(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "accepted")
	c, k, other := s.NewClient(t, servertest.Host, nil), newKey(s), newKey(s)
	a := c.Begin().With("dpop_jkt", k.Thumbprint())
	form := a.TokenForm(a.Code(t, s.NewBrowser()))
	refusedToken(t, s, send(t, s, form), "invalid_grant", "dpop_proof_missing")
	refusedToken(t, s, send(t, s, form, other.Proof("POST", tokenURL)), "invalid_grant", "dpop_wrong_key")
	if got := send(t, s, form, k.Proof("POST", tokenURL)); got.Status != 200 || claimsOf(t, got.String("access_token")).Confirmation.JKT != k.Thumbprint() {
		t.Errorf("AS-DPOP-04 %d %s", got.Status, got.Body)
	}
	for _, wrong := range []string{"short", strings.Repeat("=", 43), k.Thumbprint() + "A"} {
		page := s.NewBrowser().Open(t, c.Begin().With("dpop_jkt", wrong).URL())
		if page.Status == 200 && strings.Contains(page.Text(), "notes:read") {
			t.Errorf("dpop_jkt %q gets a consent page", wrong)
		}
	}
}

// The refresh token of a public client is worth nothing without its key; the
// credentials of another client bind its refresh token already.
func TestBoundRefreshToken(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "accepted")
	c, k, other := s.NewClient(t, servertest.Host, servertest.WithRefresh), newKey(s), newKey(s)
	tokens := signInBound(t, c, k)
	form := servertest.RefreshForm(c, tokens.Refresh)
	refusedToken(t, s, send(t, s, form), "invalid_grant", "dpop_proof_missing")
	refusedToken(t, s, send(t, s, form, other.Proof("POST", tokenURL)), "invalid_grant", "dpop_wrong_key")
	next := send(t, s, form, k.Proof("POST", tokenURL))
	if next.Status != 200 || next.String("token_type") != "DPoP" || claimsOf(t, next.String("access_token")).Confirmation.JKT != k.Thumbprint() {
		t.Fatalf("AS-RT-05 %d %s", next.Status, next.Body)
	}
	// Its tokens are bound as well.
	form = servertest.RefreshForm(c, next.String("refresh_token"))
	refusedToken(t, s, send(t, s, form, other.Proof("POST", tokenURL)), "invalid_grant", "dpop_wrong_key")

	// A refresh token without a key gets one with the first proof.
	unbound := servertest.SignIn(t, c)
	next = send(t, s, servertest.RefreshForm(c, unbound.Refresh), k.Proof("POST", tokenURL))
	if next.Status != 200 || next.String("token_type") != "DPoP" {
		t.Fatalf("status %d, want 200: %s", next.Status, next.Body)
	}
	refusedToken(t, s, send(t, s, servertest.RefreshForm(c, next.String("refresh_token"))), "invalid_grant", "dpop_proof_missing")

	// A client with a secret may change its key.
	confidential := s.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_post", "grant_types": []string{"authorization_code", "refresh_token"}})
	tokens = signInBound(t, confidential, k)
	next = send(t, s, servertest.RefreshForm(confidential, tokens.Refresh), other.Proof("POST", tokenURL))
	if next.Status != 200 || claimsOf(t, next.String("access_token")).Confirmation.JKT != other.Thumbprint() {
		t.Errorf("%d %s", next.Status, next.Body)
	}
}

func TestNoncesAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "accepted", func(f *config.File) { f.DPoP.Nonces = true })
	c, k := s.NewClient(t, servertest.Host, nil), newKey(s)
	a := c.Begin()
	form := a.TokenForm(a.Code(t, s.NewBrowser()))
	got := send(t, s, form, k.Proof("POST", tokenURL))
	refusedToken(t, s, got, "use_dpop_nonce", "dpop_nonce_needed")
	k.Nonce = got.Header.Get("DPoP-Nonce")
	if k.Nonce == "" || !strings.Contains(got.Header.Get("Access-Control-Expose-Headers"), "DPoP-Nonce") {
		t.Fatalf("AS-DPOP-03 %v", got.Header)
	}
	forged := k.Proof("POST", tokenURL, dpoptest.Claim("nonce", k.Nonce[:len(k.Nonce)-2]+"AA"))
	refusedToken(t, s, send(t, s, form, forged), "use_dpop_nonce", "dpop_nonce_needed")
	if got = send(t, s, form, k.Proof("POST", tokenURL)); got.Status != 200 {
		t.Errorf("AS-DPOP-03 status %d, want 200: %s", got.Status, got.Body)
	}
	// The same nonce is good at the MCP server.
	raw := got.String("access_token")
	req := servertest.Request(t, http.MethodGet, "https://"+servertest.Host+"/authenticate", "",
		"X-Original-URL", mcp, "X-Original-Method", "POST", "Authorization", "DPoP "+raw, "DPoP", k.Proof("POST", mcp, dpoptest.Token(raw)))
	if answer := s.Send(t, req); answer.Status != 200 {
		t.Errorf("RS-DPOP-02 status %d, want 200: %s", answer.Status, answer.Body)
	}
}

func TestIntrospectionOfABoundToken(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "accepted", configuredClients, func(f *config.File) { f.Introspection.Enabled = true })
	c, k := s.NewClient(t, servertest.Host, nil), newKey(s)
	tokens := signInBound(t, c, k)
	a := introspect(t, s, servertest.Host, "checker", checkerSecret, tokens.Access)
	cnf, _ := a.JSON["cnf"].(map[string]any)
	if a.JSON["active"] != true || a.String("token_type") != "DPoP" || cnf["jkt"] != k.Thumbprint() {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	a = introspect(t, s, servertest.Host, "checker", checkerSecret, servertest.SignIn(t, c).Access)
	if a.String("token_type") != "Bearer" || a.JSON["cnf"] != nil {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// The two numbers of draft-ietf-oauth-refresh-token-expiration come with each refresh token.
func TestRefreshTokenExpiration(t *testing.T) {
	t.Parallel()
	s := withDPoP(t, "off", func(f *config.File) {
		f.Tokens.RefreshIdle, f.Tokens.RefreshAbsolute = 7*24*time.Hour, 10*24*time.Hour
	})
	s.Clock.Freeze()
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	a := c.Begin()
	answer := a.Exchange(t, a.Code(t, s.NewBrowser()))
	const day = 24 * 60 * 60
	for _, step := range []struct {
		days          time.Duration
		timeout, ends float64
	}{{0, 7 * day, 10 * day}, {2, 7 * day, 8 * day}, {5, 3 * day, 3 * day}} {
		if step.days > 0 {
			s.Clock.Advance(step.days * 24 * time.Hour)
			answer = c.Token(t, servertest.RefreshForm(c, answer.String("refresh_token")))
		}
		timeout, ends := answer.JSON["refresh_token_timeout"], answer.JSON["authorization_expires_in"]
		if answer.Status != 200 || timeout != step.timeout || ends != step.ends {
			t.Errorf("after %d more days: %v and %v, want %v and %v: %s", step.days, timeout, ends, step.timeout, step.ends, answer.Body)
		}
	}
	once := s.NewClient(t, servertest.Host, servertest.CodeOnly)
	a = once.Begin()
	if answer = a.Exchange(t, a.Code(t, s.NewBrowser())); answer.JSON["refresh_token_timeout"] != nil || answer.JSON["authorization_expires_in"] != nil {
		t.Errorf("without a refresh token: %s", answer.Body)
	}
}

// What a machine gets is bound to its key as well.
func TestBoundTokenOfAMachine(t *testing.T) {
	t.Parallel()
	s, _ := startMachines(t, func(f *config.File) { f.Proxy.Hosts[0].DPoP = "required" })
	k := newKey(s)
	ask := func(proofs ...string) *servertest.Answer {
		form := url.Values{"grant_type": {"client_credentials"}, "resource": {servertest.Resource}}
		req := servertest.Request(t, http.MethodPost, tokenURL, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("nightly", url.QueryEscape(strings.ReplaceAll(nightlySecret, " ", "-")))
		for _, p := range proofs {
			req.Header.Add("DPoP", p)
		}
		return s.Send(t, req)
	}
	refusedToken(t, s, ask(), "invalid_dpop_proof", "dpop_proof_missing")
	proof := k.Proof("POST", tokenURL)
	a := ask(proof)
	if a.Status != 200 || a.String("token_type") != "DPoP" || claimsOf(t, a.String("access_token")).Confirmation.JKT != k.Thumbprint() {
		t.Errorf("AS-DPOP-04 %d %s", a.Status, a.Body)
	}
	refusedToken(t, s, ask(proof), "invalid_dpop_proof", "dpop_proof_replayed")
}
