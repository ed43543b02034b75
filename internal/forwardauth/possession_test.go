package forwardauth

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// bound is a service whose tickets are bound to key, but for "ticket-free".
type bound struct {
	*fixture
	key *dpoptest.Key
}

func withBoundTickets(tb testing.TB, mode resource.DPoP, nonces bool) bound {
	tb.Helper()
	b := bound{key: dpoptest.New("ES256")}
	b.fixture, _ = withTickets(tb, func(p *credential.Principal) {
		if p.ID != "ticket-free" {
			p.Bound = b.key.Thumbprint()
		}
	})
	b.key.Now = b.Now
	for _, r := range b.Resources.All() {
		r.DPoP = mode
	}
	var n *dpop.Nonces
	if nonces {
		ring, err := seal.NewKeyring(b.Now, []byte(strings.Repeat("n", 32)))
		if err != nil {
			tb.Fatal(err)
		}
		n = dpop.NewNonces(ring, 40*time.Second, b.Now)
	}
	b.Proofs, b.UsedProofs = dpop.New(n, b.Now), dpop.NewMemory(1000, b.Now)
	again := *b.Endpoint
	again.names = nil
	b.Endpoint = New(again)
	return b
}

func (b bound) proof(changes ...dpoptest.Change) string {
	return b.key.Proof("POST", aMCP, append([]dpoptest.Change{dpoptest.Token("ticket-jane")}, changes...)...)
}

// present sends jane's ticket, or the request that headers say.
func (b bound) present(tb testing.TB, authorization string, proofs ...string) *http.Response {
	tb.Helper()
	r := nginxRequest("POST", aMCP, append(call("list"), "Authorization", authorization)...)
	for _, p := range proofs {
		r.Header.Add("DPoP", p)
	}
	return b.ask(tb, r)
}

func TestPossession(t *testing.T) {
	other := dpoptest.New("ES256")
	for name, tt := range map[string]struct {
		mode          resource.DPoP
		authorization string
		proofs        func(b bound) []string
		status        int
		reason        Reason
		challenge     string // how it begins
		second        string // the other scheme, if it is challenged too
	}{
		"a proof":                     {mode: resource.DPoPAccepted, authorization: "DPoP ticket-jane", proofs: func(b bound) []string { return []string{b.proof()} }, status: 200, reason: Allowed},
		"the scheme in another case":  {mode: resource.DPoPAccepted, authorization: "dPoP ticket-jane", proofs: func(b bound) []string { return []string{b.proof()} }, status: 200, reason: Allowed},
		"required, a proof":           {mode: resource.DPoPRequired, authorization: "DPoP ticket-jane", proofs: func(b bound) []string { return []string{b.proof()} }, status: 200, reason: Allowed},
		"unbound as Bearer":           {mode: resource.DPoPAccepted, authorization: "Bearer ticket-free", status: 200, reason: Allowed},
		"unbound with a stray proof":  {mode: resource.DPoPAccepted, authorization: "Bearer ticket-free", proofs: func(b bound) []string { return []string{"x", "y"} }, status: 200, reason: Allowed},
		"no token":                    {mode: resource.DPoPAccepted, authorization: "Basic x", status: 401, reason: NoToken, challenge: `Bearer scope=`, second: `, DPoP algs="ES256 `},
		"required, no token":          {mode: resource.DPoPRequired, authorization: "Basic x", status: 401, reason: NoToken, challenge: `DPoP scope=`},
		"bound as Bearer":             {mode: resource.DPoPAccepted, authorization: "Bearer ticket-jane", proofs: func(b bound) []string { return []string{b.proof()} }, status: 401, reason: BoundTokenAsBearer, challenge: `DPoP error="invalid_token"`, second: ", Bearer"},
		"required, bound as Bearer":   {mode: resource.DPoPRequired, authorization: "Bearer ticket-jane", status: 401, reason: BoundTokenAsBearer, challenge: `DPoP error="invalid_token"`},
		"unbound with DPoP":           {mode: resource.DPoPAccepted, authorization: "DPoP ticket-free", proofs: func(b bound) []string { return []string{b.proof(dpoptest.Token("ticket-free"))} }, status: 401, reason: UnboundToken, challenge: `DPoP error="invalid_token"`, second: ", Bearer"},
		"required, unbound as Bearer": {mode: resource.DPoPRequired, authorization: "Bearer ticket-free", status: 401, reason: UnboundToken, challenge: `DPoP error="invalid_token"`},
		"off, bound":                  {authorization: "Bearer ticket-jane", status: 401, reason: BoundToken, challenge: `Bearer error="invalid_token"`},
		"off, with DPoP":              {authorization: "DPoP ticket-free", status: 401, reason: NoToken, challenge: `Bearer scope=`},
		"no proof":                    {mode: resource.DPoPAccepted, authorization: "DPoP ticket-jane", status: 401, reason: ProofMissing, challenge: `DPoP error="invalid_dpop_proof"`, second: ", Bearer"},
		"two proofs":                  {mode: resource.DPoPAccepted, authorization: "DPoP ticket-jane", proofs: func(b bound) []string { return []string{b.proof(), b.proof()} }, status: 401, reason: ProofRepeated, challenge: `DPoP error="invalid_dpop_proof"`, second: ", Bearer"},
		"another key": {mode: resource.DPoPAccepted, authorization: "DPoP ticket-jane", proofs: func(b bound) []string {
			other.Now = b.Now
			return []string{other.Proof("POST", aMCP, dpoptest.Token("ticket-jane"))}
		}, status: 401, reason: ProofWrongKey, challenge: `DPoP error="invalid_dpop_proof"`, second: ", Bearer"},
		"another method": {mode: resource.DPoPAccepted, authorization: "DPoP ticket-jane", proofs: func(b bound) []string { return []string{b.proof(dpoptest.Claim("htm", "GET"))} }, status: 401, reason: ProofMethod, challenge: `DPoP error="invalid_dpop_proof"`, second: ", Bearer"},
		"the gateway's own question": {mode: resource.DPoPAccepted, authorization: "DPoP ticket-jane", proofs: func(b bound) []string {
			return []string{b.proof(dpoptest.Claim("htu", "https://a.example/authenticate"))}
		}, status: 401, reason: ProofURL, challenge: `DPoP error="invalid_dpop_proof"`, second: ", Bearer"},
		"another host":                  {mode: resource.DPoPAccepted, authorization: "DPoP ticket-jane", proofs: func(b bound) []string { return []string{b.proof(dpoptest.Claim("htu", "https://b.example/mcp"))} }, status: 401, reason: ProofURL, challenge: `DPoP error="invalid_dpop_proof"`, second: ", Bearer"},
		"another token":                 {mode: resource.DPoPAccepted, authorization: "DPoP ticket-jane", proofs: func(b bound) []string { return []string{b.proof(dpoptest.Token("ticket-joe"))} }, status: 401, reason: ProofToken, challenge: `DPoP error="invalid_dpop_proof"`, second: ", Bearer"},
		"a token and nothing":           {mode: resource.DPoPAccepted, authorization: "DPoP ", status: 401, reason: MalformedCredentials, challenge: `DPoP error="invalid_request"`, second: ", Bearer"},
		"a bad token keeps its scheme":  {mode: resource.DPoPAccepted, authorization: "DPoP ticket-forged", status: 401, reason: BadSignature, challenge: `DPoP error="invalid_token"`, second: ", Bearer"},
		"a bad token as Bearer":         {mode: resource.DPoPAccepted, authorization: "Bearer ticket-forged", status: 401, reason: BadSignature, challenge: `Bearer error="invalid_token"`, second: `, DPoP algs="`},
		"a proof in place of the token": {mode: resource.DPoPAccepted, authorization: "DPoP x.y.z", proofs: func(b bound) []string { return []string{b.proof()} }, status: 401, reason: MalformedToken, challenge: `DPoP error="invalid_token"`, second: ", Bearer"},
	} {
		t.Run("RS-DPOP-01 RS-DPOP-03 RS-ERR-12 "+name, func(t *testing.T) {
			b := withBoundTickets(t, tt.mode, false)
			var proofs []string
			if tt.proofs != nil {
				proofs = tt.proofs(b)
			}
			resp := b.present(t, tt.authorization, proofs...)
			got := resp.Header.Get("WWW-Authenticate")
			if resp.StatusCode != tt.status || b.reasons[tt.reason] != 1 {
				t.Errorf("%d %v, want %d %s", resp.StatusCode, b.reasons, tt.status, tt.reason)
			}
			if !strings.HasPrefix(got, tt.challenge) || tt.challenge == "" && got != "" {
				t.Errorf("challenge %s, want %s…", got, tt.challenge)
			}
			if bearer, proof := strings.Contains(got, "Bearer"), strings.Contains(got, "DPoP "); tt.second == "" && bearer && proof || !strings.Contains(got, tt.second) {
				t.Errorf("challenge %s, want %q in it", got, tt.second)
			}
			if strings.Contains(got, "DPoP ") && !strings.Contains(got, `algs="`+algorithms+`"`) {
				t.Errorf("challenge without algorithms: %s", got)
			}
			if resp.Header.Get("DPoP-Nonce") != "" {
				t.Error("a nonce that is not asked for")
			}
		})
	}
}

// Method and URL are what each kind of gateway says, whatever else the client sends.
func TestPossessionAtEachDialect(t *testing.T) {
	for dialect, render := range renderings {
		t.Run("RS-DPOP-01 "+dialect.String(), func(t *testing.T) {
			b := withBoundTickets(t, resource.DPoPRequired, false)
			ask := func(path, htm, htu string, more ...string) *http.Response {
				h := http.Header{"Authorization": {"DPoP ticket-jane"}, "Dpop": {b.proof(dpoptest.Claim("htm", htm), dpoptest.Claim("htu", htu))}}
				for i := 0; i < len(more); i += 2 {
					h.Set(more[i], more[i+1])
				}
				r, err := render(where{host: "a.example", path: path}, h)
				if err != nil {
					t.Fatal(err)
				}
				return b.ask(t, r)
			}
			if resp := ask("/mcp?session=1", "POST", aMCP); resp.StatusCode != 200 {
				t.Errorf("status %d, want 200: %v", resp.StatusCode, b.reasons)
			}
			if resp := ask("/mcp/messages", "POST", aMCP+"/messages?x"); resp.StatusCode != 200 {
				t.Errorf("below: status %d, want 200: %v", resp.StatusCode, b.reasons)
			}
			if resp := ask("/mcp", "GET", aMCP); resp.StatusCode != 401 || b.reasons[ProofMethod] != 1 {
				t.Errorf("htm GET: status %d, want 401: %v", resp.StatusCode, b.reasons)
			}
			foreign := []string{"Forwarded", "host=evil.example;proto=http", "X-Forwarded-Port", "1234", "X-Forwarded-Proto", "http", "X-Http-Method-Override", "GET", "X-Rewrite-Url", "/other"}
			if resp := ask("/mcp", "POST", "http://a.example/mcp", foreign...); resp.StatusCode != 401 || b.reasons[ProofURL] != 1 {
				t.Errorf("headers of the client: status %d, want 401: %v", resp.StatusCode, b.reasons)
			}
			if resp := ask("/mcp", "POST", aMCP, foreign...); resp.StatusCode != 200 {
				t.Errorf("headers of the client: status %d, want 200: %v", resp.StatusCode, b.reasons)
			}
		})
	}
}

// Without a method or a path no proof can be checked, and that is the gateway's fault.
func TestPossessionThatCannotBeChecked(t *testing.T) {
	b := withBoundTickets(t, resource.DPoPRequired, false)
	for name, change := range map[string]func(http.Header){
		"no method": func(h http.Header) { h.Del("X-Original-Method") },
		"no URL":    func(h http.Header) { h.Del("X-Original-Url") },
	} {
		r := nginxRequest("POST", "https://b.example/mcp", "Authorization", "DPoP ticket-jane", "DPoP", b.proof())
		r.Host = "b.example"
		change(r.Header)
		if resp := b.ask(t, r); resp.StatusCode != 403 || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %v", name, resp.StatusCode, b.reasons)
		}
	}
	if b.reasons[NotCheckable] != 2 {
		t.Errorf("%v", b.reasons)
	}
}

func TestProofIsUsedOnce(t *testing.T) {
	b := withBoundTickets(t, resource.DPoPRequired, false)
	proof := b.proof()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { b.present(t, "DPoP ticket-jane", proof) })
	}
	all.Wait()
	if b.reasons[Allowed] != 1 || b.reasons[ProofReplayed] != 99 {
		t.Errorf("ATK-35 %v", b.reasons)
	}
	// A proof that was refused is not spent: another person's key, then the token's own.
	b = withBoundTickets(t, resource.DPoPRequired, false)
	proof = b.proof()
	b.present(t, "Bearer ticket-jane", proof)
	b.present(t, "DPoP ticket-joe", proof)
	if resp := b.present(t, "DPoP ticket-jane", proof); resp.StatusCode != 200 {
		t.Errorf("%v", b.reasons)
	}
}

func TestNonceAtTheGateway(t *testing.T) {
	b := withBoundTickets(t, resource.DPoPAccepted, true)
	resp := b.present(t, "DPoP ticket-jane", b.proof())
	nonce := resp.Header.Get("DPoP-Nonce")
	if resp.StatusCode != 401 || nonce == "" || b.reasons[NonceNeeded] != 1 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), `DPoP error="use_dpop_nonce"`) {
		t.Fatalf("RS-DPOP-02 %d %v", resp.StatusCode, resp.Header)
	}
	b.key.Nonce = nonce
	if resp = b.present(t, "DPoP ticket-jane", b.proof()); resp.StatusCode != 200 || resp.Header.Get("DPoP-Nonce") != "" {
		t.Errorf("RS-DPOP-02 a fresh nonce: status %d, want 200: %v", resp.StatusCode, resp.Header)
	}
	b.now = b.now.Add(21 * time.Second) // half of its life is over
	resp = b.present(t, "DPoP ticket-jane", b.proof())
	next := resp.Header.Get("DPoP-Nonce")
	if resp.StatusCode != 200 || next == "" || next == nonce {
		t.Errorf("RS-DPOP-02 an old nonce: status %d, want 200: %v", resp.StatusCode, resp.Header)
	}
	if resp = b.present(t, "Basic x"); resp.StatusCode != 401 || resp.Header.Get("DPoP-Nonce") == "" {
		t.Errorf("a client without a token: status %d, want 401: %v", resp.StatusCode, resp.Header)
	}
	b.now = b.now.Add(20 * time.Second)
	if resp = b.present(t, "DPoP ticket-jane", b.proof()); resp.StatusCode != 401 || b.reasons[NonceNeeded] != 2 {
		t.Errorf("RS-DPOP-02 an expired nonce: status %d, want 401: %v", resp.StatusCode, b.reasons)
	}
}

// The proof is taken away before the request reaches the MCP server, and pages may
// send one and read the nonce.
func TestProofIsNotForTheServer(t *testing.T) {
	b := withBoundTickets(t, resource.DPoPAccepted, false)
	q := Request{Dialect: EnvoyGRPC, Method: "POST", Host: "a.example", Path: "/mcp", Headers: Headers{
		Authorization: []string{"DPoP ticket-jane"}, Proof: []string{b.proof()},
	}}
	d := b.Decide(t.Context(), &q)
	if !d.Allowed() || !strings.Contains(strings.Join(d.Remove, " "), "dpop") {
		t.Errorf("RS-FWD-05 %d, removed: %q", d.Status, d.Remove)
	}
	d.Resource.Rules.AllowedOrigins = []string{"https://app.example"}
	preflight := Request{Dialect: EnvoyGRPC, Method: "OPTIONS", Host: "a.example", Path: "/mcp", Headers: Headers{
		Origin: []string{"https://app.example"}, PreflightMethod: []string{"POST"},
	}}
	p := b.Decide(t.Context(), &preflight)
	h := http.Header{}
	p.Client.Set(h)
	if !strings.Contains(h.Get("Access-Control-Allow-Headers"), "DPoP") || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "DPoP-Nonce") {
		t.Errorf("RS-ERR-10 %v", h)
	}
}

// A token of this service says itself which key it is bound to.
func TestOwnBoundToken(t *testing.T) {
	b := withBoundTickets(t, resource.DPoPAccepted, false)
	raw, _, err := b.issuer.Mint(token.Claims{
		Issuer: "https://a.example", Subject: "jane", Audience: aMCP, ClientID: "client", Scope: "read", Confirmation: token.Confirmation{Thumbprint: b.key.Thumbprint()},
	}, token.Person{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from the cache
		if resp := b.present(t, "DPoP "+raw, b.proof(dpoptest.Token(raw))); resp.StatusCode != 200 {
			t.Errorf("%v", b.reasons)
		}
		if resp := b.present(t, "Bearer "+raw, b.proof(dpoptest.Token(raw))); resp.StatusCode != 401 {
			t.Errorf("RS-DPOP-03 as Bearer: %v", b.reasons)
		}
	}
}
