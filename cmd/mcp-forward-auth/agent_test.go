package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// --as-agent says what an assertion would get: whom it names, which rule of its issuer
// gives what, and what the policy leaves of that.
func TestTryAgent(t *testing.T) {
	config := write(t, `provider: {name: google, clientID: x, clientSecret: not-a-secret, hostedDomains: [example.com]}
proxy:
  hosts:
    - {host: mcp.example.com, endpoint: 'http://notes.default.svc:8080/mcp', scopes: [{name: "notes:read", tools: [list]}, {name: "notes:write", tools: [add]}]}
policy:
  rules:
    - {name: reading, effect: allow, groups: [support-eng], scopes: ["notes:*"]}
    - {name: no night shift, effect: deny, roles: [night], scopes: ["notes:write"]}
trustedIssuers:
  - kind: workload
    issuer: https://acme.agents.example
    rules:
      - {name: support, groups: [support-eng], scopes: ["notes:read", "notes:write"], resources: ["https://mcp.example.com/mcp"]}
`)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(more map[string]any) string {
		claims := map[string]any{
			"iss": "https://acme.agents.example", "sub": "agent-7", "aud": "https://mcp.example.com", "jti": rand.Text(),
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "groups": []string{"support-eng"},
		}
		for k, v := range more {
			claims[k] = v
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return write(t, raw+"\n")
	}
	ask := func(name string, code int, says []string, args ...string) {
		t.Helper()
		answers(t, name, code, says, append([]string{"check-config", "--config", config}, args...)...)
	}
	ask("an agent of the group", 0, []string{"allowed  notes:read", "allowed  notes:write", "agent-7", "groups support-eng", "scopes are given by", "signature and the times"}, "--as-agent", shown(nil))
	ask("a role that the policy denies", exitRefused, []string{"refused  notes:write", "no night shift", "roles night"}, "--as-agent", shown(map[string]any{"roles": []string{"night"}}), "--scopes", "notes:read,notes:write")
	ask("a group that no rule names", exitRefused, []string{"gives anything at this MCP server"}, "--as-agent", shown(map[string]any{"groups": []string{"sales"}}), "--scopes", "notes:read")
	ask("an issuer that is not trusted", exitFailed, []string{"no entry of trustedIssuers has the issuer"}, "--as-agent", shown(map[string]any{"iss": "https://other.example"}))
	ask("another audience", exitFailed, []string{"--as-agent: the assertion is refused"}, "--as-agent", shown(map[string]any{"aud": "https://else.example"}))
	ask("no file", exitFailed, []string{"--as-agent"}, "--as-agent", "/no/such/file")
	ask("an empty file", exitFailed, []string{"holds no assertion"}, "--as-agent", write(t, "\n"))
	ask("two questions", exitUsage, nil, "--as-agent", shown(nil), "--as", "")
	ask("a client of nothing", exitUsage, nil, "--client", "x")
}
