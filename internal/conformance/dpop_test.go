package conformance

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
)

var dpopChecks = []Check{
	{IDs: "AS-DPOP-01 AS-DPOP-02", Run: badProofsAtToken, Twins: twins(status("/token", 400, 200), members("/token", func(m map[string]any) {
		if m["error"] == "invalid_dpop_proof" {
			m["error"] = "invalid_request"
		}
	}))},
	{IDs: "AS-DPOP-03", Run: nonceAtToken, Twins: twins(dropHeader("/token", "DPoP-Nonce"), configTwin("dpop: {nonces: true}", "dpop: {}"))},
	{IDs: "AS-DPOP-04 AS-META-15 RS-PRM-08", Run: boundToken, Twins: twins(setMember("/token", "token_type", "Bearer"),
		members("/token", func(m map[string]any) { m["access_token"] = reclaim(m["access_token"], "cnf", nil) }),
		setMember(oauthDocument, "dpop_signing_alg_values_supported", []string{"ES256", "HS256"}), dropMember(prm+"/mcp", "dpop_bound_access_tokens_required"))},
	{IDs: "RS-DPOP-01 RS-DPOP-02 ATK-35", Run: badProofsAtServer, Twins: twins(status("/authenticate", 401, 200), dropHeader("/authenticate", "WWW-Authenticate"))},
	{IDs: "RS-DPOP-03 RS-ERR-12", Run: schemesAreNotMixed, Twins: twins(replaceHeader("/authenticate", "WWW-Authenticate", "DPoP ", "Bearer "))},
	{IDs: "RS-DPOP-04", Run: extraClaims, Twins: twins(status("/authenticate", 200, 401))},
}

// withDPoP is the standard configuration with bound tokens at the first server.
func withDPoP(mode string, more ...string) option {
	edits := []string{"path: /mcp, displayName: Team notes", "path: /mcp, displayName: Team notes, dpop: " + mode}
	for _, m := range more {
		edits = append(edits, "", m)
	}
	return configured(edits...)
}

// prover is a client with a key and a token that is bound to it.
type prover struct {
	w     *world
	c     *client
	key   *dpoptest.Key
	token string
}

const tokenEndpoint = issuerMCP + "/token"

func newProver(t *T, opts ...option) *prover {
	w := t.World(opts...)
	p := &prover{w: w, c: w.register(hostMCP, nil), key: dpoptest.New("ES256")}
	p.key.Now = w.clock.Now
	return p
}

// redeem sends a code with DPoP headers.
func (p *prover) redeem(code string, proofs ...string) *answer {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.c.redirect}, "code_verifier": {p.c.verifier}, "client_id": {p.c.id}}
	return p.w.form(tokenEndpoint, v, headers(proofs)...)
}

func headers(proofs []string) (all []string) {
	for _, p := range proofs {
		all = append(all, "DPoP", p)
	}
	return all
}

// bound signs in with a proof.
func bound(t *T, opts ...option) *prover {
	p := newProver(t, opts...)
	a := p.redeem(p.c.code(), p.key.Proof("POST", tokenEndpoint))
	if p.token = a.Text("access_token"); a.Status != 200 || p.token == "" {
		t.Setupf("no bound token: %d %s", a.Status, a.Body)
	}
	return p
}

// present asks at the MCP server.
func (p *prover) present(authorization string, proofs ...string) *answer {
	return p.w.ask(resourceMCP, "", append([]string{"Authorization", authorization}, headers(proofs)...)...)
}

func (p *prover) proof(changes ...dpoptest.Change) string {
	return p.key.Proof("POST", resourceMCP, append([]dpoptest.Change{dpoptest.Token(p.token)}, changes...)...)
}

// defect is one way in which a proof is wrong, by the name that the conformance suite
// has for it (modelcontextprotocol/conformance, pull request 395).
type defect struct {
	id, name string
	change   dpoptest.Change
}

func defects(now time.Time) []defect {
	const validate, window, asymmetric = "sep-1932-server-validate-proof", "sep-1932-server-iat-window", "sep-1932-asymmetric-alg-only"
	other := dpoptest.New("ES256")
	return []defect{
		{validate, "RejectsTamperedSignature", dpoptest.InHeader("jwk", other.JWK())},
		{validate, "RejectsMissingJti", dpoptest.Claim("jti", nil)},
		{validate, "RejectsWrongTyp", dpoptest.InHeader("typ", "jwt")},
		{validate, "RejectsHtuMismatch", dpoptest.Claim("htu", "https://wrong.example.com/mcp")},
		{validate, "RejectsHtmMismatch", dpoptest.Claim("htm", "GET")},
		{validate, "RejectsPrivateKeyInJwk", dpoptest.InKey("d", "AAAA")},
		{validate, "RejectsMissingHtm", dpoptest.Claim("htm", nil)},
		{validate, "RejectsMissingHtu", dpoptest.Claim("htu", nil)},
		{validate, "RejectsMissingIat", dpoptest.Claim("iat", nil)},
		{validate, "RejectsMissingJwk", dpoptest.InHeader("jwk", nil)},
		{window, "RejectsStaleIat", dpoptest.Claim("iat", now.Unix()-303)},
		{window, "RejectsFutureIat", dpoptest.Claim("iat", now.Unix()+303)},
		{asymmetric, "RejectsAlgNone", dpoptest.InHeader("alg", "none")},
		{asymmetric, "RejectsAlgSymmetric", dpoptest.InHeader("alg", "HS256")},
	}
}

func badProofsAtToken(t *T) {
	p := newProver(t, withDPoP("accepted"))
	code := p.c.code()
	for _, d := range defects(p.w.clock.Now()) {
		a := p.redeem(code, p.key.Proof("POST", tokenEndpoint, d.change))
		t.Want(a.Status == 400 && a.Text("error") == "invalid_dpop_proof", "%s: %d %s", d.name, a.Status, a.Body)
	}
	a := p.redeem(code, p.key.Proof("POST", tokenEndpoint), p.key.Proof("POST", tokenEndpoint))
	t.Want(a.Status == 400 && a.Text("error") == "invalid_dpop_proof", "two proofs: %d %s", a.Status, a.Body)
	a = p.redeem(code, p.key.Proof("POST", tokenEndpoint+"?x#y"))
	t.Want(a.Status == 200 && a.Text("token_type") == "DPoP", "a good proof after all that: %d %s", a.Status, a.Body)
}

func nonceAtToken(t *T) {
	p := newProver(t, withDPoP("accepted", "dpop: {nonces: true}"))
	code := p.c.code()
	a := p.redeem(code, p.key.Proof("POST", tokenEndpoint))
	p.key.Nonce = a.Header.Get("DPoP-Nonce")
	t.Want(a.Status == 400 && a.Text("error") == "use_dpop_nonce" && p.key.Nonce != "", "without a nonce: %d %s %v", a.Status, a.Body, a.Header)
	a = p.redeem(code, p.key.Proof("POST", tokenEndpoint, dpoptest.Claim("nonce", "wrong")))
	t.Want(a.Status == 400 && a.Text("error") == "use_dpop_nonce", "with another: %d %s", a.Status, a.Body)
	a = p.redeem(code, p.key.Proof("POST", tokenEndpoint))
	t.Want(a.Status == 200, "with the nonce: %d %s", a.Status, a.Body)
}

func boundToken(t *T) {
	p := bound(t, withDPoP("accepted"))
	a := p.redeem(p.c.code(with("dpop_jkt", p.key.Thumbprint())), p.key.Proof("POST", tokenEndpoint))
	t.Want(a.Status == 200 && a.Text("token_type") == "DPoP", "%d %s", a.Status, a.Body)
	cnf, _ := t.claims(a.Text("access_token"))["cnf"].(map[string]any)
	t.Want(cnf["jkt"] == p.key.Thumbprint(), "cnf %v", cnf)
	a = p.redeem(p.c.code(with("dpop_jkt", dpoptest.New("ES256").Thumbprint())), p.key.Proof("POST", tokenEndpoint))
	t.Want(a.Status == 400 && a.Text("error") == "invalid_grant", "a code for another key: %d %s", a.Status, a.Body)
	for _, document := range []string{oauthDocument, openidDocument, prm + "/mcp"} {
		a = p.w.get(issuerMCP + document)
		algs, _ := a.JSON()["dpop_signing_alg_values_supported"].([]any)
		t.Want(slices.Contains(algs, any("ES256")), "sep-1932-as-metadata-alg-values: %s: %q", document, algs)
		for _, alg := range algs {
			name, _ := alg.(string)
			t.Want(name != "" && !strings.EqualFold(name, "none") && !strings.HasPrefix(name, "HS"), "sep-1932-as-no-none-alg: %s: %v", document, alg)
		}
	}
	for mode, want := range map[string]string{"accepted": `"dpop_bound_access_tokens_required":false`, "required": `"dpop_bound_access_tokens_required":true`} {
		a = t.World(withDPoP(mode)).get(issuerMCP + prm + "/mcp")
		t.Want(strings.Contains(strings.ReplaceAll(a.Body, " ", ""), want), "sep-1932-server-prm-dpop: %s: %s", mode, a.Body)
	}
}

// refusedProof reports whether an answer is what DPoP has for a bad proof.
func refusedProof(a *answer, code string) bool {
	c := a.Header.Get("WWW-Authenticate")
	return a.Status == 401 && strings.HasPrefix(c, `DPoP error="`+code+`"`) && strings.Contains(c, `algs="`)
}

func badProofsAtServer(t *T) {
	p := bound(t, withDPoP("accepted"))
	a := p.present("DPoP "+p.token, p.proof())
	t.Want(a.Status == 200, "AcceptsValidProof: %d %v", a.Status, a.Header)
	for _, d := range defects(p.w.clock.Now()) {
		a = p.present("DPoP "+p.token, p.proof(d.change))
		t.Want(refusedProof(a, "invalid_dpop_proof"), "%s/%s: %d %v", d.id, d.name, a.Status, a.Header)
	}
	for name, proofs := range map[string][]string{
		"RejectsWrongAth": {p.proof(dpoptest.Claim("ath", "not-the-right-hash"))}, "RejectsAthAbsent": {p.proof(dpoptest.Claim("ath", nil))},
		"RejectsDuplicateDpopHeader": {p.proof(), p.proof()}, "RejectsMalformedProof": {"this-is-not-a-jwt"}, "no proof": nil,
		"a proof for /authenticate": {p.proof(dpoptest.Claim("htu", issuerMCP+"/authenticate"))},
	} {
		a = p.present("DPoP "+p.token, proofs...)
		t.Want(refusedProof(a, "invalid_dpop_proof"), "sep-1932-server-validate-proof/%s: %d %v", name, a.Status, a.Header)
	}
	other := *p
	other.key = dpoptest.New("ES256")
	other.key.Now = p.w.clock.Now
	a = p.present("DPoP "+p.token, other.proof())
	t.Want(refusedProof(a, "invalid_dpop_proof"), "sep-1932-server-validate-proof/RejectsCnfJktMismatch: %d %v", a.Status, a.Header)
	used := p.proof()
	t.Want(p.present("DPoP "+p.token, used).Status == 200, "a fresh proof is refused")
	a = p.present("DPoP "+p.token, used)
	t.Want(refusedProof(a, "invalid_dpop_proof"), "a replay: %d %v", a.Status, a.Header)
	for _, at := range []int64{-300, 300} {
		a = p.present("DPoP "+p.token, p.proof(dpoptest.Claim("iat", p.w.clock.Now().Unix()+at)))
		t.Want(a.Status == 200, "iat %+d s: %d %v", at, a.Status, a.Header)
	}
}

func schemesAreNotMixed(t *T) {
	p := bound(t, withDPoP("accepted"))
	a := p.present("Bearer "+p.token, p.proof())
	t.Want(refusedProof(a, "invalid_token"), "sep-1932-server-validate-proof/RejectsBearerScheme: %d %v", a.Status, a.Header)
	ordinary := p.c.token()
	t.Want(p.w.ask(resourceMCP, ordinary).Status == 200, "an ordinary token is refused where bound ones are accepted")
	p.token = ordinary
	a = p.present("DPoP "+ordinary, p.proof())
	t.Want(refusedProof(a, "invalid_token"), "an ordinary token as DPoP: %d %v", a.Status, a.Header)
	p.token = p.w.newToken(hostMany, resourceA)
	a = p.present("DPoP "+p.token, p.proof())
	t.Want(refusedProof(a, "invalid_token"), "sep-1932-server-audience-validation/RejectsWrongAudience: %d %v", a.Status, a.Header)
	c := p.w.ask(resourceMCP, "").Header.Get("WWW-Authenticate")
	t.Want(strings.HasPrefix(c, "Bearer ") && strings.Contains(c, `, DPoP algs="`), "sep-1932-server-advertises-dpop: %s", c)
	w := t.World(withDPoP("required"))
	c = w.ask(resourceMCP, "").Header.Get("WWW-Authenticate")
	t.Want(strings.HasPrefix(c, "DPoP ") && !strings.Contains(c, "Bearer") && strings.Contains(c, "resource_metadata="), "required: %s", c)
}

func extraClaims(t *T) {
	p := bound(t, withDPoP("accepted"))
	a := p.present("DPoP "+p.token, p.proof(dpoptest.Claim("content_digest", "sha-256=:x:")))
	t.Want(a.Status == 200, "%d %v", a.Status, a.Header)
}

// TestSEP1932 has the checks of the conformance suite's pull requests 395 and 396 under
// the ids that they have there.
func TestSEP1932(t *testing.T) {
	suite := newSuite(t)
	for _, c := range []struct {
		ids string
		run func(*T)
	}{
		{"sep-1932-as-metadata-alg-values sep-1932-as-no-none-alg sep-1932-as-token-binding sep-1932-server-prm-dpop", boundToken},
		{"sep-1932-server-validate-proof sep-1932-server-iat-window sep-1932-asymmetric-alg-only sep-1932-server-reject-401 sep-1932-server-error-code", badProofsAtServer},
		{"sep-1932-server-audience-validation sep-1932-server-advertises-dpop", schemesAreNotMixed},
		{"sep-1932-server-nonce", nonceAtServer},
		{"sep-1932-server-prm-consistency", requiredIsRequired},
	} {
		t.Run(strings.ReplaceAll(c.ids, " ", "+"), func(t *testing.T) {
			faults, setup := suite.execute(t, Check{Run: c.run}, Twin{})
			if setup != "" || len(faults) > 0 {
				t.Errorf("%s %s", setup, strings.Join(faults, "\n"))
			}
		})
	}
}

func nonceAtServer(t *T) {
	p := newProver(t, withDPoP("accepted", "dpop: {nonces: true}"))
	code := p.c.code()
	p.key.Nonce = p.redeem(code, p.key.Proof("POST", tokenEndpoint)).Header.Get("DPoP-Nonce")
	p.token = p.redeem(code, p.key.Proof("POST", tokenEndpoint)).Text("access_token")
	t.Want(p.present("DPoP "+p.token, p.proof()).Status == 200, "the nonce of the token endpoint is not good at the MCP server")
	for _, nonce := range []any{nil, "wrong"} {
		a := p.present("DPoP "+p.token, p.proof(dpoptest.Claim("nonce", nonce)))
		t.Want(refusedProof(a, "use_dpop_nonce") && a.Header.Get("DPoP-Nonce") != "", "nonce %v: %d %v", nonce, a.Status, a.Header)
	}
}

func requiredIsRequired(t *T) {
	p := bound(t, withDPoP("required"))
	t.Want(p.present("DPoP "+p.token, p.proof()).Status == 200, "a bound token is refused")
	a := p.redeem(p.c.code())
	t.Want(a.Status == 400 && a.Text("error") == "invalid_dpop_proof", "a token without a proof: %d %s", a.Status, a.Body)
	accepting := bound(t, withDPoP("accepted"))
	ordinary := accepting.c.token()
	a = p.w.ask(resourceMCP, ordinary)
	t.Want(a.Status == 401, "an ordinary token: %d", a.Status)
}
