package config

import (
	"strings"
	"testing"
	"time"
)

func TestTrustedIssuers(t *testing.T) {
	const rules = "rules: [{anyone: true, scopes: [a], resources: ['https://mcp.example.com/mcp']}]"
	one := func(entry string) string { return minimal + "trustedIssuers: [{" + entry + "}]\n" }
	c := mustParse(t, minimal+`trustedIssuers:
- {kind: kubernetes, issuer: "https://kubernetes.default.svc", tokenFile: seed, rules: [{namespaces: [ci], serviceAccounts: [builder], scopes: [a], resources: ["https://mcp.example.com/mcp"]}]}
- {kind: workload, issuer: "https://agents.example", `+rules+`}
- {kind: id-jag, issuer: "https://agents.example", maxLifetime: 5m, `+rules+`}
- {kind: workload, issuer: "spiffe://example.org", jwksFile: seed, reusable: true, `+rules+`}
`).TrustedIssuers
	for i, want := range []struct {
		namespace string
		once      bool
		life      time.Duration
	}{{"kubernetes.default.svc", false, 48 * time.Hour}, {"agents.example", true, time.Hour}, {"agents.example", true, 5 * time.Minute}, {"example.org", false, time.Hour}} {
		if got := c[i]; got.Namespace != want.namespace || got.SingleUse != want.once || got.MaxLifetime != want.life || got.TokenLifetime != 15*time.Minute {
			t.Errorf("%d: %+v", i, got)
		}
	}
	for name, tt := range map[string]struct{ entry, want string }{
		"no kind":               {"issuer: 'https://a.example', " + rules, `kind: "" is not one of`},
		"a kind that is none":   {"kind: spiffe, issuer: 'https://a.example', " + rules, `kind: "spiffe" is not one of`},
		"no issuer":             {"kind: workload, " + rules, "issuer: is required"},
		"an issuer by http":     {"kind: workload, issuer: 'http://a.example', " + rules, "issuer: "},
		"a pattern":             {"kind: workload, issuer: 'https://a.example/{tenant}', " + rules, "issuer: is a pattern"},
		"ourselves":             {"kind: workload, issuer: 'https://mcp.example.com', " + rules, "issuer: is this service itself"},
		"spiffe without keys":   {"kind: workload, issuer: 'spiffe://example.org', " + rules, "jwksURL: is required with the issuer"},
		"spiffe with a path":    {"kind: workload, issuer: 'spiffe://example.org/x', jwksFile: seed, " + rules, "issuer: is not a trust domain"},
		"spiffe people":         {"kind: id-jag, issuer: 'spiffe://example.org', jwksFile: seed, " + rules, "issuer: is a trust domain of workloads"},
		"no rules":              {"kind: workload, issuer: 'https://a.example'", "rules: is required"},
		"a rule about no one":   {"kind: workload, issuer: 'https://a.example', rules: [{scopes: [a], resources: ['https://mcp.example.com/mcp']}]", "rules[0]: does not say whom it is about"},
		"anyone and someone":    {"kind: workload, issuer: 'https://a.example', rules: [{anyone: true, groups: [x], scopes: [a], resources: ['https://mcp.example.com/mcp']}]", "rules[0].anyone: contradicts"},
		"no scopes":             {"kind: workload, issuer: 'https://a.example', rules: [{anyone: true, resources: ['https://mcp.example.com/mcp']}]", "rules[0].scopes: is required"},
		"no resources":          {"kind: workload, issuer: 'https://a.example', rules: [{anyone: true, scopes: [a]}]", "rules[0].resources: is required"},
		"another's resource":    {"kind: workload, issuer: 'https://a.example', rules: [{anyone: true, scopes: [a], resources: ['https://b.example/mcp']}]", "rules[0].resources[0]: is not the public URL"},
		"a pattern in a rule":   {"kind: workload, issuer: 'https://a.example', rules: [{subjects: ['agent-*'], scopes: [a], resources: ['https://mcp.example.com/mcp']}]", "rules[0].subjects[0]: has an asterisk"},
		"an account anywhere":   {"kind: kubernetes, issuer: 'https://a.example', rules: [{serviceAccounts: [builder], scopes: [a], resources: ['https://mcp.example.com/mcp']}]", "rules[0].namespaces: is required beside serviceAccounts"},
		"roles of accounts":     {"kind: kubernetes, issuer: 'https://a.example', rules: [{roles: [x], scopes: [a], resources: ['https://mcp.example.com/mcp']}]", `rules[0].roles: has a meaning for kind "workload" alone`},
		"accounts of platforms": {"kind: workload, issuer: 'https://a.example', rules: [{namespaces: [x], serviceAccounts: [x], scopes: [a], resources: ['https://mcp.example.com/mcp']}]", `rules[0].serviceAccounts: has a meaning for kind "kubernetes" alone`},
		"people used twice":     {"kind: id-jag, issuer: 'https://a.example', reusable: true, " + rules, `reusable: has a meaning for kind "workload" alone`},
		"tenants of workloads":  {"kind: workload, issuer: 'https://a.example', tenants: [a], " + rules, `tenants: has a meaning for kind "id-jag" alone`},
		"a tenant with a colon": {"kind: id-jag, issuer: 'https://a.example', tenants: ['a:b'], " + rules, "tenants[0]: is not a tenant"},
		"two ways to keys":      {"kind: workload, issuer: 'https://a.example', jwksFile: seed, jwksURL: 'https://a.example/keys', " + rules, "jwksURL: excludes jwksFile"},
		"a token over http":     {"kind: kubernetes, issuer: 'https://a.example', tokenFile: seed, jwksURL: 'http://a.example/keys', " + rules, "jwksURL: uses http, which would show the token"},
		"symmetric":             {"kind: workload, issuer: 'https://a.example', algorithms: [HS256], " + rules, "algorithms[0]: is refused"},
		"a long life":           {"kind: workload, issuer: 'https://a.example', maxLifetime: 72h, " + rules, "maxLifetime: is not between"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, one(tt.entry), "trustedIssuers[0]."+tt.want) })
	}
	t.Run("two entries with the same assertions", func(t *testing.T) {
		refused(t, minimal+"trustedIssuers: [{kind: workload, issuer: 'https://a.example', "+rules+"}, {kind: kubernetes, issuer: 'https://a.example', "+rules+"}]", "trustedIssuers[1].issuer: is the issuer of trustedIssuers[0] too")
	})
	t.Run("alike but for the scheme", func(t *testing.T) {
		refused(t, minimal+"trustedIssuers: [{kind: workload, issuer: 'https://a.example', "+rules+"}, {kind: workload, issuer: 'spiffe://a.example', jwksFile: seed, "+rules+"}]", "trustedIssuers[1].issuer: subjects of")
	})
	t.Run("agents in rules of the policy", func(t *testing.T) {
		refused(t, minimal+"policy: {rules: [{effect: allow, actors: ['*']}]}", "policy.rules[0].actors[0]: acts for someone, and no tokens are taken that say so")
		refused(t, minimal+"policy: {rules: [{effect: allow, roles: [x]}]}", "policy.rules[0].roles[0]: is a role of workloads, and there are no trustedIssuers")
		refused(t, minimal+"policy: {rules: [{effect: allow, clientKinds: [workload]}]}", `policy.rules[0].clientKinds[0]: there are no "workload" clients`)
		mustParse(t, one("kind: workload, issuer: 'https://a.example', "+rules)+"policy: {rules: [{effect: allow, actors: ['a.example:*'], roles: ['x*'], clientKinds: [workload], users: ['a.example:agent']}]}")
	})
	t.Run("single use needs one memory", func(t *testing.T) {
		warnings := mustParse(t, one("kind: workload, issuer: 'https://a.example', "+rules)).Warnings.Error()
		if !strings.Contains(warnings, `guard.backend: is "memory"`) {
			t.Error(warnings)
		}
	})
}
