package explain_test

import (
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// denial is a request that is refused, and what explain says of it.
type denial struct {
	event  audit.Event // whose last line is explained alone; "" explains the last sign-in
	inject func(t *testing.T)
	reason reasons.Reason
	says   []string
}

// checkDenials makes each request at s and asks explain about it.
func checkDenials(t *testing.T, s *servertest.Service, denials map[string]denial) {
	t.Helper()
	for name, tt := range denials {
		t.Run(name, func(t *testing.T) {
			tt.inject(t)
			story := told(t, s, tt.event)
			text := story.String()
			if story.Reason != tt.reason {
				t.Errorf("reason %q, want %q", story.Reason, tt.reason)
			}
			for _, want := range append(tt.says, "\ndo ") {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in:\n%s", want, text)
				}
			}
			if len(tt.says) == 0 {
				t.Error("nothing is expected of it")
			}
		})
	}
}

// proving is a client with a key at a service whose MCP server takes bound tokens.
type proving struct {
	*servertest.Service
	key           *dpoptest.Key
	access, plain string
}

func newProving(t *testing.T, edit func(*config.File)) *proving {
	t.Helper()
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Proxy.Hosts[0].DPoP = "accepted"
		if edit != nil {
			edit(f)
		}
	}})
	p := &proving{Service: s, key: dpoptest.New("ES256")}
	p.key.Now = s.Clock.Now
	c := s.NewClient(t, servertest.Host, nil)
	p.plain = c.AccessToken(t, s.NewBrowser())
	a := c.Begin()
	answer := p.redeem(t, a, p.tokenProof())
	if nonce := answer.Header.Get("DPoP-Nonce"); answer.Status != http.StatusOK && nonce != "" {
		p.key.Nonce = nonce
		answer = p.redeem(t, a, p.tokenProof())
		p.key.Nonce = ""
	}
	if p.access = answer.String("access_token"); answer.String("token_type") != "DPoP" {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	return p
}

func (p *proving) tokenProof(changes ...dpoptest.Change) string {
	return p.key.Proof("POST", servertest.Issuer(servertest.Host)+"/token", changes...)
}

// redeem redeems a new code with proofs.
func (p *proving) redeem(t *testing.T, a *servertest.Attempt, proofs ...string) *servertest.Answer {
	t.Helper()
	form := a.TokenForm(a.Code(t, p.NewBrowser()))
	req := servertest.Request(t, http.MethodPost, servertest.Issuer(servertest.Host)+"/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	for _, proof := range proofs {
		req.Header.Add("DPoP", proof)
	}
	return p.Send(t, req)
}

// proof is a good one for a request to the MCP server, but for changes.
func (p *proving) proof(changes ...dpoptest.Change) string {
	return p.key.Proof("POST", servertest.Resource, append([]dpoptest.Change{dpoptest.Token(p.access)}, changes...)...)
}

// ask asks the gateway's question with proofs.
func (p *proving) ask(t *testing.T, authorization string, proofs ...string) {
	t.Helper()
	req := servertest.Request(t, http.MethodGet, servertest.Issuer(servertest.Host)+"/authenticate", "",
		"X-Original-URL", servertest.Resource, "X-Original-Method", "POST", "Authorization", authorization)
	for _, proof := range proofs {
		req.Header.Add("DPoP", proof)
	}
	if a := p.Send(t, req); a.Status == http.StatusOK {
		t.Errorf("%s passes", authorization)
	}
}

// TestProofs injects what is wrong with proofs of keys.
func TestProofs(t *testing.T) {
	t.Parallel()
	p := newProving(t, nil)
	with := func(proofs ...func() string) func(*testing.T) {
		return func(t *testing.T) {
			var sent []string
			for _, proof := range proofs {
				sent = append(sent, proof())
			}
			p.ask(t, "DPoP "+p.access, sent...)
		}
	}
	changed := func(changes ...dpoptest.Change) func(*testing.T) {
		return with(func() string { return p.proof(changes...) })
	}
	good := func() string { return p.proof() }
	other := &proving{Service: p.Service, key: dpoptest.New("ES256"), access: p.access}
	other.key.Now = p.Clock.Now
	d := audit.AccessDenied
	checkDenials(t, p.Service, map[string]denial{
		"none":            {d, with(), reasons.DPoPProofMissing, []string{"no DPoP proof", "drops the DPoP header"}},
		"two":             {d, with(good, good), reasons.DPoPProofRepeated, []string{"more than one DPoP header"}},
		"no JWT":          {d, with(func() string { return "x" }), reasons.DPoPProofMalformed, []string{"cause: it does not have the three parts of a signed JWT"}},
		"without a claim": {d, changed(dpoptest.Claim("jti", nil)), reasons.DPoPProofMalformed, []string{"cause: its claim jti is missing"}},
		"type":            {d, changed(dpoptest.InHeader("typ", "JWT")), reasons.DPoPProofType, []string{"cause: typ is \"JWT\"", "typ is dpop+jwt"}},
		"algorithm":       {d, changed(dpoptest.InHeader("alg", "HS256")), reasons.DPoPProofAlgorithm, []string{"cause: alg is \"HS256\"", "dpop_signing_alg_values_supported"}},
		"key":             {d, changed(dpoptest.InKey("d", "AAAA")), reasons.DPoPProofKey, []string{"cause: its jwk has the private member d"}},
		"signature":       {d, with(func() string { return p.proof()[:20+len(p.proof())-40] + "AAAAAAAAAAAAAAAAAAAA" }), reasons.DPoPProofSignature, []string{"does not verify", "the key of jwk"}},
		"method":          {d, changed(dpoptest.Claim("htm", "GET")), reasons.DPoPProofMethod, []string{"cause: the request has the method POST, and the proof is for \"GET\""}},
		"URL":             {d, changed(dpoptest.Claim("htu", "https://other.example/mcp")), reasons.DPoPProofURL, []string{"cause: the request is for https://mcp.example.com/mcp, and the proof for \"https://other.example/mcp\"", "`proxy.hosts`"}},
		"old":             {d, changed(dpoptest.Claim("iat", p.Clock.Now().Add(-time.Hour).Unix())), reasons.DPoPProofTime, []string{"cause: it was made 1h0m", "NTP"}},
		"future":          {d, changed(dpoptest.Claim("iat", p.Clock.Now().Add(time.Hour).Unix())), reasons.DPoPProofTime, []string{"in the future (iat)", "NTP"}},
		"expired":         {d, changed(dpoptest.Claim("exp", p.Clock.Now().Add(-time.Hour).Unix())), reasons.DPoPProofTime, []string{"ago (exp)"}},
		"another token":   {d, changed(dpoptest.Token("another")), reasons.DPoPProofToken, []string{"cause: its ath is of another token"}},
		"no ath":          {d, changed(dpoptest.Claim("ath", nil)), reasons.DPoPProofToken, []string{"cause: it has no ath"}},
		"another key":     {d, with(func() string { return other.proof() }), reasons.DPoPWrongKey, []string{"(thumbprints)", "keeps one key"}},
		"replayed": {d, func(t *testing.T) {
			proof := p.proof()
			req := servertest.Request(t, http.MethodGet, servertest.Issuer(servertest.Host)+"/authenticate", "", "X-Original-URL", servertest.Resource, "X-Original-Method", "POST", "Authorization", "DPoP "+p.access, "DPoP", proof)
			if a := p.Send(t, req); a.Status != http.StatusOK {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			p.ask(t, "DPoP "+p.access, proof)
		}, reasons.DPoPProofReplayed, []string{"used before"}},
		"as a bearer": {d, func(t *testing.T) { p.ask(t, "Bearer "+p.access) }, reasons.BoundTokenAsBearer, []string{"came as Bearer", "the scheme DPoP"}},
		"not bound":   {d, func(t *testing.T) { p.ask(t, "DPoP "+p.plain, p.proof(dpoptest.Token(p.plain))) }, reasons.UnboundToken, []string{"not bound to a key", "signs in again with a DPoP proof"}},
		"at /token": {audit.TokenRefused, func(t *testing.T) {
			p.redeem(t, p.NewClient(t, servertest.Host, nil).Begin(), p.tokenProof(dpoptest.Claim("htu", "https://other.example/token")))
		}, reasons.DPoPProofURL, []string{"cause: the request is for https://mcp.example.com/token, and the proof for \"https://other.example/token\""}},
		"at /token, old": {audit.TokenRefused, func(t *testing.T) {
			p.redeem(t, p.NewClient(t, servertest.Host, nil).Begin(), p.tokenProof(dpoptest.Claim("iat", p.Clock.Now().Add(-time.Hour).Unix())))
		}, reasons.DPoPProofTime, []string{"cause: it was made 1h0m"}},
	})
}

// apiKey is a key and its entry.
func apiKey(name string, edit func(*apikey.KeyFile)) (string, apikey.KeyFile) {
	key, hash := apikey.NewKey()
	entry := apikey.KeyFile{Name: name, Hashes: []string{hash}, Scopes: []string{"notes:read"}, NeverExpires: true}
	if edit != nil {
		edit(&entry)
	}
	return key, entry
}

func TestKeys(t *testing.T) {
	t.Parallel()
	plain, plainEntry := apiKey("ci", nil)
	elsewhere, elsewhereEntry := apiKey("two", func(k *apikey.KeyFile) { k.Resources = []string{"https://two.example/mcp"} })
	old, oldEntry := apiKey("old", func(k *apikey.KeyFile) { k.NeverExpires, k.Expires = false, "2020-01-31" })
	inside, insideEntry := apiKey("inside", func(k *apikey.KeyFile) { k.Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	tool, toolEntry := apiKey("tool", func(k *apikey.KeyFile) {
		k.Scopes, k.Tools = []string{"notes:read", "notes:write"}, []string{"notes_list"}
	})
	denied, deniedEntry := apiKey("denied", nil)
	unknown, _ := apiKey("unknown", nil)
	list := filepath.Join(t.TempDir(), "deny.yaml")
	if err := os.WriteFile(list, []byte("clients: [\"apikey:denied\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, servertest.Options{Files: map[string]string{list: ""}, Edit: func(f *config.File) {
		f.DenyList.File = list
		f.Proxy.Hosts[0].APIKeys.Enabled, f.Proxy.Hosts[0].APIKeys.Header = true, "X-API-Key"
		second, third := f.Proxy.Hosts[0], f.Proxy.Hosts[0]
		second.Host, third.Host, third.APIKeys.Enabled, third.APIKeys.Header = "two.example", "three.example", false, ""
		f.Proxy.Hosts = append(f.Proxy.Hosts, second, third)
		f.APIKeys.Keys = []apikey.KeyFile{plainEntry, elsewhereEntry, oldEntry, insideEntry, toolEntry, deniedEntry}
		f.Listen.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}})
	servertest.WaitForTools(t, s)
	ask := func(key string, header ...string) func(*testing.T) {
		return func(t *testing.T) { s.Ask(t, servertest.Resource, key, header...) }
	}
	call := func(key, tool string) func(*testing.T) {
		return func(t *testing.T) { servertest.CallTool(t, s, key, tool) }
	}
	d := audit.AccessDenied
	checkDenials(t, s, map[string]denial{
		"unknown":           {d, ask(unknown), reasons.APIKeyUnknown, []string{"cause: no entry has a hash with the id ", "`apiKeys.file`"}},
		"cut":               {d, ask(plain[:30]), reasons.APIKeyMalformed, []string{"checksum is wrong", "copy the whole key"}},
		"expired":           {d, ask(old), reasons.APIKeyExpired, []string{"cause: it expired at 2020-02-01T00:00:00Z", "`apiKeys.keys[].expires`", "apikey:old"}},
		"wrong host":        {d, ask(elsewhere), reasons.APIKeyNotAccepted, []string{"cause: the resources of the key do not list https://mcp.example.com/mcp", "apikey:two"}},
		"host without keys": {d, func(t *testing.T) { s.Ask(t, "https://three.example/mcp", plain) }, reasons.APIKeyNotAccepted, []string{"cause: https://three.example/mcp accepts no API keys", "`proxy.hosts[].apiKeys.enabled`"}},
		"wrong source":      {d, ask(inside, "X-Forwarded-For", "198.51.100.1"), reasons.APIKeyWrongSource, []string{"cause: the request came from 198.51.100.1, and the sources of the key are 192.0.2.0/24", "apikey:inside"}},
		"no source":         {d, ask(inside), reasons.APIKeyWrongSource, []string{"cause: the gateway did not say which address", "`listen.trustedProxies`"}},
		"scope":             {d, call(plain, "notes_create"), reasons.APIKeyNotEnough, []string{"cause: it needs one of the scopes notes:write, and the key has notes:read", "tool: notes_create"}},
		"tool":              {d, call(tool, "notes_create"), reasons.APIKeyNotEnough, []string{"cause: the scopes of the key open it, and its tools", "tool: notes_create"}},
		"two credentials":   {d, ask(plain, "X-API-Key", plain), reasons.TwoCredentials, []string{"sends one credential"}},
		"denied":            {d, ask(denied), reasons.DeniedByOperator, []string{"apikey:denied", "deny-list"}},
		"tool, old client":  {d, ask(tool, "MCP-Protocol-Version", "2025-06-18"), reasons.OldProtocolVersion, []string{"the API key", "cause: MCP-Protocol-Version is \"2025-06-18\"", "`body`"}},
		"not a key":         {d, ask("", "X-API-Key", "abc"), reasons.NotAnAPIKey, []string{"another kind of credential"}},
	})
}

func TestTools(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Proxy.Hosts[0].ToolPolicy = rule.Strict
	}})
	servertest.WaitForTools(t, s)
	c := s.NewClient(t, servertest.Host, nil)
	c.Scope = "notes:read"
	token := c.AccessToken(t, s.NewBrowser())
	ask := func(header ...string) func(*testing.T) {
		return func(t *testing.T) { s.Ask(t, servertest.Resource, token, header...) }
	}
	call := func(tool string) func(*testing.T) {
		return func(t *testing.T) { servertest.CallTool(t, s, token, tool) }
	}
	d := audit.AccessDenied
	checkDenials(t, s, map[string]denial{
		"scope":        {d, call("notes_create"), reasons.InsufficientScope, []string{"scope: notes:write", "tool: notes_create", "check-config --config FILE --as"}},
		"no such tool": {d, call("no_such"), reasons.NoScopeOpensIt, []string{"the name may be mistyped", "tool: no_such"}},
		"old":          {d, ask("MCP-Protocol-Version", "2025-06-18"), reasons.OldProtocolVersion, []string{"cause: MCP-Protocol-Version is \"2025-06-18\", and 2026-07-28 or later is needed"}},
		"no header":    {d, ask("MCP-Protocol-Version", "2026-07-28"), reasons.MissingMCPHeader, []string{"cause: it is the header Mcp-Method"}},
		"bad header":   {d, ask("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?!!?="), reasons.MalformedMCPHeader, []string{"cause: it is the header Mcp-Name"}},
		"twice":        {d, ask("MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Method", "tools/call"), reasons.RepeatedMCPHeader, []string{"cause: it is the header Mcp-Method"}},
	})
}

func TestClients(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(idp), servertest.WithoutConsent, servertest.SecondHost)})
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	other := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	dead := s.NewClient(t, "other.example.com", servertest.WithRefresh)
	dead.Host = servertest.Host
	refused := audit.TokenRefused
	checkDenials(t, s, map[string]denial{
		"a dead registration at /authorize": {audit.AuthorizeRefused, func(t *testing.T) { s.NewBrowser().Open(t, dead.Begin().URL()) }, reasons.UnknownClient, []string{"cause: unknown client: it registered at another host", "registers"}},
		"a dead registration at /token":     {refused, func(t *testing.T) { dead.Token(t, servertest.RefreshForm(dead, "x")) }, reasons.UnknownClient, []string{"cause: unknown client: it registered at another host", "registers"}},
		"no such client":                    {audit.AuthorizeRefused, func(t *testing.T) { n := *c; n.ID = "no-such"; s.NewBrowser().Open(t, n.Begin().URL()) }, reasons.UnknownClient, []string{"cause: unknown client: no entry of clients has the id \"no-such\"", "`clients`"}},
		"another redirect": {audit.AuthorizeRefused, func(t *testing.T) {
			s.NewBrowser().Open(t, c.Begin().With("redirect_uri", "https://app.example.org/other").URL())
		}, reasons.RedirectURIMismatch, []string{"cause: redirect_uri \"https://app.example.org/other\""}},
		"refresh reused": {refused, func(t *testing.T) {
			k := servertest.SignIn(t, c)
			s.MustPass(t, servertest.Resource, k.Again(t).Access)
			k.Stolen(t)
		}, reasons.RefreshTokenReused, []string{"two parties hold it", "runs twice on one machine", "sign-in: "}},
		"family": {audit.FamilyEnded, func(t *testing.T) {
			k := servertest.SignIn(t, c)
			s.MustPass(t, servertest.Resource, k.Again(t).Access)
			k.Stolen(t)
		}, reasons.RefreshTokenReused, []string{"two parties hold it"}},
		"after the family ended": {refused, func(t *testing.T) {
			k := servertest.SignIn(t, c)
			next := k.Again(t)
			s.MustPass(t, servertest.Resource, next.Access)
			k.Stolen(t)
			next.Client.Token(t, servertest.RefreshForm(c, next.Refresh))
		}, reasons.FamilyRevoked, []string{"`family.ended`", "sign-in: "}},
		"access after the family ended": {audit.AccessDenied, func(t *testing.T) {
			k := servertest.SignIn(t, c)
			next := k.Again(t)
			s.MustPass(t, servertest.Resource, next.Access)
			k.Stolen(t)
			s.Ask(t, servertest.Resource, next.Access)
		}, reasons.TokenRevoked, []string{"`family.ended`", "sign-in: "}},
		"repeated": {audit.TokenRefreshed, func(t *testing.T) { k := servertest.SignIn(t, c); k.Again(t); k.Again(t) }, reasons.RefreshTokenRepeated, []string{"same answer again"}},
		"of another client": {refused, func(t *testing.T) {
			k := servertest.SignIn(t, c)
			other.Token(t, servertest.RefreshForm(other, k.Refresh))
		}, reasons.RefreshTokenOfAnotherClient, []string{"issued to another client"}},
		"mangled": {refused, func(t *testing.T) { c.Token(t, servertest.RefreshForm(c, "abc")) }, reasons.InvalidRefreshToken, []string{"not one of this service", "seed was replaced"}},
		"code twice": {refused, func(t *testing.T) {
			a := c.Begin()
			code := a.Code(t, s.NewBrowser())
			a.Exchange(t, code)
			a.Exchange(t, code)
		}, reasons.CodeUsedTwice, []string{"redeemed before"}},
		"verifier": {refused, func(t *testing.T) {
			a := c.Begin()
			code := a.Code(t, s.NewBrowser())
			a.Verifier = strings.Repeat("x", 50)
			a.Exchange(t, code)
		}, reasons.WrongCodeVerifier, []string{"PKCE verifier"}},
	})
}

func TestStates(t *testing.T) {
	t.Parallel()
	s, _ := servertest.Quick(t)
	c := s.NewClient(t, servertest.Host, nil)
	back := func(t *testing.T) (*servertest.Browser, string) {
		b := s.NewBrowser()
		return b, servertest.Follow(t, b, b.Open(t, c.Begin().URL())).Location()
	}
	const d = "" // the whole sign-in
	checkDenials(t, s, map[string]denial{
		"another browser": {d, func(t *testing.T) { _, to := back(t); s.NewBrowser().Open(t, to) }, reasons.OtherBrowser, []string{"login.started", "stays in one browser", "cookies do not come back"}},
		"no state":        {d, func(t *testing.T) { b, to := back(t); b.Open(t, servertest.WithQuery(t, to, "state", "")) }, reasons.OtherBrowser, []string{"cause: this browser did not begin this sign-in: the answer has no state"}},
		"a cut state": {d, func(t *testing.T) {
			b, to := back(t)
			b.Open(t, servertest.WithQuery(t, to, "state", servertest.Query(t, to).Get("state")[:60]))
		}, reasons.OtherBrowser, []string{"cause: this browser did not begin this sign-in: sealed value is not valid here"}},
		"late":  {d, func(t *testing.T) { b, to := back(t); s.Clock.Advance(11 * time.Minute); b.Open(t, to) }, reasons.SignInExpired, []string{"more than ten minutes after", "login.started", "cause: this sign-in was to be answered within 10m0s"}},
		"twice": {d, func(t *testing.T) { b, to := back(t); b.Open(t, to); b.Open(t, to) }, "", []string{"used_twice", "The client got a code, and did not redeem it"}},
	})
}
