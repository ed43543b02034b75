package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A token of another authorization server that says who acts for whom is taken where
// the entry says so, and then rules, header and audit log know the whole chain.
func TestDelegatedTokens(t *testing.T) {
	t.Parallel()
	as := oauthtest.NewIssuer(t)
	start := func(delegation bool) *servertest.Service {
		return servertest.Start(t, servertest.Options{Edit: servertest.Edits(
			servertest.UseIssuer(as.URL, func(f *issuer.File) { f.Delegation, f.AddScopes = delegation, []string{"notes:read", "notes:write"} }),
			func(f *config.File) {
				f.IdentityHeaders.Actor = "X-Actor"
				if !delegation { // actors without tokens that have them are a mistake
					return
				}
				f.Policy.Rules = []rule.Rule{
					{Effect: "allow", Anyone: true, Scopes: []string{"notes:read"}},
					{Effect: "allow", Actors: []string{"agents.example:helper"}, Scopes: []string{"notes:write"}},
					{Effect: "deny", Actors: []string{"agents.example:banned"}},
				}
			})})
	}
	acts := func(chain ...string) map[string]any {
		var act any
		for i := len(chain) - 1; i >= 0; i-- {
			next := map[string]any{"iss": "https://agents.example", "sub": chain[i]}
			if act != nil {
				next["act"] = act
			}
			act = next
		}
		if act == nil {
			return nil
		}
		return map[string]any{"act": act}
	}
	token := func(s *servertest.Service, chain ...string) string {
		return as.Token(as.Claims(servertest.Resource, s.Clock.Now(), acts(chain...)), nil)
	}

	s := start(false)
	s.MustPass(t, servertest.Resource, token(s))
	s.MustNotPass(t, servertest.Resource, token(s, "helper"), "invalid_token")
	if e := s.Log.Last(audit.AccessDenied); e["reason"] != "delegated_token" {
		t.Errorf("without delegation: %v", e)
	}

	s = start(true)
	if got := s.MustPass(t, servertest.Resource, token(s)).Header.Get("X-Actor"); got != "-" {
		t.Errorf("no one acts, and X-Actor is %q", got)
	}
	pass := s.MustPass(t, servertest.Resource, token(s, "helper", "planner"))
	if got := pass.Header.Get("X-Actor"); got != "agents.example:helper,agents.example:planner" {
		t.Errorf("X-Actor is %q", got)
	}
	servertest.WaitForTools(t, s)
	for name, tt := range map[string]struct {
		chain  []string
		status int
	}{
		"the one who acts now may": {[]string{"helper", "planner"}, http.StatusOK}, "no one acts": {nil, http.StatusForbidden},
		"the one who acts now may not": {[]string{"planner", "helper"}, http.StatusForbidden},
	} {
		if a := servertest.CallTool(t, s, token(s, tt.chain...), "notes_create"); a.Status != tt.status {
			t.Errorf("%s: %d %v, audit says %v", name, a.Status, a.Header, s.Log.Last(audit.AccessDenied))
		}
	}
	for _, chain := range [][]string{{"banned"}, {"helper", "banned"}, {"helper", "planner", "banned"}} {
		if a := s.Ask(t, servertest.Resource, token(s, chain...)); a.Status == http.StatusOK {
			t.Errorf("%q passes", chain)
		}
		if e := s.Log.Last(audit.AccessDenied); e["actor"] != "agents.example:"+strings.Join(chain, " < agents.example:") {
			t.Errorf("audit: %v", e)
		}
	}
	deep := strings.Split(strings.Repeat("x ", 9), " ")[:9]
	s.MustNotPass(t, servertest.Resource, token(s, deep...), "invalid_token")
	for name, act := range map[string]any{"no sub": map[string]any{"iss": "https://agents.example"}, "text": "helper", "a list": []any{map[string]any{"sub": "helper"}}, "a number": map[string]any{"sub": 1}} {
		raw := as.Token(as.Claims(servertest.Resource, s.Clock.Now(), map[string]any{"act": act}), nil)
		if a := s.Ask(t, servertest.Resource, raw); a.Status != http.StatusUnauthorized {
			t.Errorf("act is %s: %d", name, a.Status)
		}
	}
}

// RS-DPOP-03: a token of another authorization server that is bound to a key needs the
// proof of that key, as one of this service does.
func TestForeignBoundTokens(t *testing.T) {
	t.Parallel()
	as := oauthtest.NewIssuer(t)
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.UseIssuer(as.URL, nil), func(f *config.File) { f.Proxy.Hosts[0].DPoP = "accepted" })})
	key, other := dpoptest.New("ES256"), dpoptest.New("ES256")
	key.Now, other.Now = s.Clock.Now, s.Clock.Now
	raw := as.Token(as.Claims(servertest.Resource, s.Clock.Now(), map[string]any{"cnf": map[string]any{"jkt": key.Thumbprint()}}), nil)
	free := as.Token(as.Claims(servertest.Resource, s.Clock.Now(), nil), nil)
	ask := func(authorization string, proofs ...string) *servertest.Answer {
		header := []string{"X-Original-URL", servertest.Resource, "X-Original-Method", "POST", "Authorization", authorization}
		for _, p := range proofs {
			header = append(header, "DPoP", p)
		}
		return s.Send(t, servertest.Request(t, http.MethodGet, "https://"+servertest.Host+"/authenticate", "", header...))
	}
	proof := func(k *dpoptest.Key, token string) string {
		return k.Proof("POST", servertest.Resource, dpoptest.Token(token))
	}
	if a := ask("DPoP "+raw, proof(key, raw)); a.Status != http.StatusOK {
		t.Fatalf("with its proof: %d %v, audit says %v", a.Status, a.Header, s.Log.Last(audit.AccessDenied))
	}
	used := proof(key, raw)
	ask("DPoP "+raw, used)
	for name, tt := range map[string]struct {
		answer *servertest.Answer
		reason string
	}{
		"bound_token_as_bearer": {ask("Bearer "+raw, proof(key, raw)), "invalid_token"}, "dpop_proof_missing": {ask("DPoP " + raw), "invalid_dpop_proof"},
		"dpop_wrong_key": {ask("DPoP "+raw, proof(other, raw)), "invalid_dpop_proof"}, "dpop_proof_token": {ask("DPoP "+raw, proof(key, free)), "invalid_dpop_proof"},
		"dpop_proof_replayed": {ask("DPoP "+raw, used), "invalid_dpop_proof"}, "unbound_token": {ask("DPoP "+free, proof(key, free)), "invalid_token"},
	} {
		if a := tt.answer; a.Status != http.StatusUnauthorized || !strings.Contains(a.Header.Get("WWW-Authenticate"), `DPoP error="`+tt.reason+`"`) || !strings.Contains(s.Log.String(), `"`+name+`"`) {
			t.Errorf("%s: %d %v", name, a.Status, a.Header)
		}
	}
	if a := ask("Bearer " + free); a.Status != http.StatusOK {
		t.Errorf("an ordinary token: %d", a.Status)
	}
}
