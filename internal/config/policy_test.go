package config

import (
	"fmt"
	"strings"
	"testing"
)

// ruled is a configuration with these rules as the default.
func ruled(rules ...string) string {
	return minimal + "clients: [{id: our-app, redirectURIs: ['https://app.example/cb']}, {id: narrow, redirectURIs: ['https://app.example/cb'], scopes: [a], resources: ['https://mcp.example.com/mcp']}]\n" +
		"policy: {rules: [" + strings.Join(rules, ", ") + "]}\n"
}

// hosted is one with a second MCP server that has rules of its own.
func hosted(standard, own string) string {
	text := oidc + "proxy: {hosts: [{host: mcp.example.com, endpoint: 'http://mcp:8080/mcp'}, {host: b.example.com, endpoint: 'http://b/mcp', policy: {rules: [" + own + "]}}]}\n" +
		"clients: [{id: narrow, redirectURIs: ['https://app.example/cb'], scopes: [a], resources: ['https://mcp.example.com/mcp']}]\n"
	if standard != "" {
		text += "policy: {rules: [" + standard + "]}\n"
	}
	return text
}

func TestPolicyResolved(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       [][]string // of each host, as String says
	}{
		{"none", minimal, [][]string{nil}},
		{"an empty section", minimal + "policy:\n", [][]string{nil}},
		{"a section without rules", minimal + "policy: {}\n", [][]string{nil}},
		{"the default", ruled("{effect: allow, name: members, groups: [mcp-users]}"), [][]string{{"policy.rules[0] (members)"}}},
		{"own rules and the denials of the default", hosted("{effect: allow, groups: [a]}, {effect: deny, name: out, groups: [b]}", "{effect: allow, groups: [c]}"),
			[][]string{{"policy.rules[0]", "policy.rules[1] (out)"}, {"proxy.hosts[1].policy.rules[0]", "policy.rules[1] (out)"}}},
		{"own rules only", hosted("", "{effect: allow, anyone: true}"), [][]string{nil, {"proxy.hosts[1].policy.rules[0]"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustParse(t, tt.text)
			for i, want := range tt.want {
				var got []string
				for _, rule := range c.Hosts[i].Policy {
					got = append(got, rule.String())
				}
				if fmt.Sprint(got) != fmt.Sprint(want) || (got == nil) != (want == nil) {
					t.Errorf("host %d has %q, want %q", i, got, want)
				}
			}
		})
	}
}

func TestPolicyMistakes(t *testing.T) {
	const (
		allowA = "{effect: allow, groups: [a]}"
		all    = "{effect: allow, anyone: true}"
		at     = "policy.rules"
	)
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", minimal + "policy: {rules: []}", at + ": is empty, which would shut everyone out"},
		{"only denials", ruled("{effect: deny, groups: [a]}"), at + ": only deny"},
		{"no effect", ruled("{groups: [a]}"), at + "[0].effect: is required"},
		{"another effect", ruled("{effect: permit, groups: [a]}"), at + `[0].effect: "permit" is not one of`},
		{"unknown condition", ruled(all, "{effect: deny, group: [a]}"), at + "[1].group: unknown key; did you mean groups?"},
		{"nobody named", ruled("{effect: allow, scopes: [a]}"), at + "[0]: does not say whom it is about"},
		{"an empty condition", ruled("{effect: allow, groups: []}"), at + "[0].groups: is empty"},
		{"anyone and somebody", ruled("{effect: allow, anyone: true, groups: [a]}"), at + "[0].anyone: contradicts"},
		{"an entry twice", ruled("{effect: allow, groups: [a, a]}"), at + "[0].groups[1]: is listed twice"},
		{"a name twice", ruled("{effect: allow, name: x, groups: [a]}", "{effect: allow, name: x, groups: [b]}"), at + `[1].name: "x" is the name of policy.rules[0] too`},
		{"not an address", ruled("{effect: allow, emails: [jane]}"), at + "[0].emails[0]: is not an e-mail address"},
		{"an address with a name", ruled("{effect: allow, emails: ['Jane <jane@example.com>']}"), at + "[0].emails[0]: is not an e-mail address"},
		{"not a domain", ruled("{effect: allow, emailDomains: ['@example.com']}"), at + "[0].emailDomains[0]: is not a DNS name"},
		{"a domain in capitals", ruled("{effect: allow, emailDomains: [Example.com]}"), at + "[0].emailDomains[0]: must be in lower case"},
		{"every group", ruled("{effect: allow, groups: ['*']}"), at + `[0].groups[0]: "*" would be every group`},
		{"every scope", ruled("{effect: allow, anyone: true, scopes: ['*']}"), at + `[0].scopes[0]: "*" is everything already`},
		{"an asterisk inside", ruled("{effect: allow, groups: ['a*b']}"), at + "[0].groups[0]: has an asterisk that is not at its end"},
		{"not a scope", ruled("{effect: allow, anyone: true, scopes: ['a b']}"), at + "[0].scopes[0]: is not a scope"},
		{"offline_access", ruled("{effect: allow, anyone: true, scopes: [offline_access]}"), at + "[0].scopes[0]: is no right"},
		{"scopes and tools", ruled("{effect: allow, anyone: true, scopes: [a], tools: [b]}"), at + "[0].tools: excludes scopes"},
		{"no such provider", ruled("{effect: allow, providers: [google]}"), at + `[0].providers[0]: "google" is not the id of a provider; there is oidc`},
		{"a subject of another provider", ruled("{effect: allow, users: ['google:1']}"), at + "[0].users[0]: is a subject of provider"},
		{"groups that no provider tells", strings.Replace(ruled("{effect: allow, groups: [a]}"), oidc, accounts, 1), at + "[0].groups[0]: no provider says which groups"},
		{"a scope in another case", strings.Replace(ruled("{effect: allow, anyone: true, scopes: ['Notes:Read']}"), "endpoint:", "defaultScopes: ['notes:read'], endpoint:", 1), at + `[0].scopes[0]: "Notes:Read" is written "notes:read" in proxy.hosts`},
		{"no such client", ruled("{effect: allow, clients: [other]}"), at + `[0].clients[0]: "other" is neither the id`},
		{"a registered client", ruled("{effect: allow, clients: [dcr1.abc]}"), at + "[0].clients[0]: registered itself"},
		{"a kind", ruled("{effect: allow, clientKinds: [public]}"), at + `[0].clientKinds[0]: "public" is not one of`},
		{"kind document is off", ruled("{effect: allow, clientKinds: [document]}") + "registration: {metadataDocuments: {enabled: false}}", at + "[0].clientKinds[0]: turns them off"},
		{"kind dynamic is off", ruled("{effect: allow, clientKinds: [dynamic]}") + "registration: {dynamic: {enabled: false}}", at + "[0].clientKinds[0]: turns them off"},
		{"kind static without clients", minimal + "policy: {rules: [{effect: allow, clientKinds: [static]}]}", at + "[0].clientKinds[0]: the section clients is empty"},
		{"documents are off", ruled("{effect: allow, clientHosts: [claude.ai]}") + "registration: {metadataDocuments: {enabled: false}}", at + "[0].clientHosts[0]: turns off"},
		{"a denied host", ruled("{effect: allow, clientHosts: [a.bad.example]}") + "registration: {metadataDocuments: {deniedDomains: ['*.bad.example']}}", at + "[0].clientHosts[0]: deniedDomains"},
		{"a host not allowed", ruled("{effect: allow, clients: ['https://a.example/c']}") + "registration: {metadataDocuments: {allowedDomains: [claude.ai]}}", at + "[0].clients[0]: is not in registration"},
		{"address and domain", ruled("{effect: allow, emails: [a@example.com], emailDomains: [example.org]}"), at + "[0]: can never hold: none of its emails is among its emailDomains"},
		{"client and host", ruled("{effect: allow, clients: [our-app], clientHosts: [claude.ai]}"), at + "[0]: can never hold: none of its clients is among its clientHosts"},
		{"client and kind", ruled("{effect: allow, clients: [our-app], clientKinds: [dynamic]}"), at + "[0]: can never hold: none of its clients is among its clientKinds"},
		{"host and kind", ruled("{effect: allow, clientHosts: [claude.ai], clientKinds: [dynamic]}"), at + "[0]: can never hold: none of its clientHosts is among its clientKinds"},
		{"scopes that the client may not have", ruled("{effect: allow, clients: [narrow], scopes: [b]}"), at + "[0]: none of its scopes is among the scopes of its clients"},
		{"the same twice", ruled(allowA, allowA), at + "[1]: says the same as policy.rules[0]"},
		{"a wider one before", ruled(all, allowA), at + "[1]: adds nothing, because policy.rules[0] allows all of it already"},
		{"a wider one after", ruled(allowA, all), at + "[0]: adds nothing, because policy.rules[1] allows"},
		{"a wider pattern", ruled("{effect: allow, groups: ['mcp-*']}", "{effect: allow, groups: ['mcp-a*', mcp-b]}"), at + "[1]: adds nothing"},
		{"an address in a domain", ruled("{effect: allow, emailDomains: [example.com]}", "{effect: allow, emails: [jane@Example.com], groups: [a]}"), at + "[1]: adds nothing"},
		{"a document of a host", ruled("{effect: allow, clientHosts: ['*.example.com']}", "{effect: allow, clients: ['https://a.example.com/c']}"), at + "[1]: adds nothing"},
		{"a host of the kind", ruled("{effect: allow, clientKinds: [document]}", "{effect: allow, clientHosts: [claude.ai]}"), at + "[1]: adds nothing"},
		{"a client of the kind", ruled("{effect: allow, clientKinds: [static]}", "{effect: allow, clients: [our-app]}"), at + "[1]: adds nothing"},
		{"fewer scopes", ruled("{effect: allow, groups: [a], scopes: ['notes:*']}", "{effect: allow, groups: [a], scopes: ['notes:read']}"), at + "[1]: adds nothing"},
		{"denied altogether", ruled(all, "{effect: allow, groups: [a], scopes: [x]}", "{effect: deny, groups: [a]}"), at + "[1]: allows nothing, because policy.rules[2] denies"},
		{"a denial in a denial", ruled(all, "{effect: deny, groups: [a]}", "{effect: deny, groups: [a], tools: [x]}"), at + "[2]: adds nothing, because policy.rules[1] denies all of it already"},
		{"denied by the default", hosted("{effect: allow, anyone: true}, {effect: deny, groups: [a]}", allowA+", {effect: allow, groups: [b]}"), "proxy.hosts[1].policy.rules[0]: allows nothing, because policy.rules[1] denies"},
		{"own denials only", hosted(all, "{effect: deny, groups: [a]}"), "proxy.hosts[1].policy.rules: only deny"},
		{"a client that may not come here", hosted("", "{effect: allow, clients: [narrow]}"), "proxy.hosts[1].policy.rules[0].clients: may not reach https://b.example.com/mcp"},
		{"advisory", strings.Replace(ruled("{effect: allow, anyone: true, scopes: [a]}"), "endpoint:", "toolPolicy: advisory, endpoint:", 1), `proxy.hosts[0].toolPolicy: "advisory" lets every token use every tool`},
		{"too many rules", ruled(strings.Repeat(allowA+", ", 100) + allowA), at + ": has 101 entries"},
		{"too many entries", ruled("{effect: allow, groups: [" + strings.Repeat("a, ", 200) + "b]}"), at + "[0].groups: has 201 entries"},
		{"not a list", minimal + "policy: {rules: {effect: allow}}", at + ": must be a list"},
		{"hidden letters", ruled("{effect: allow, groups: [\"a\\u200b\"]}"), at + "[0].groups[0]: holds a control or invisible character"},
	} {
		t.Run(tt.name, func(t *testing.T) { refused(t, tt.text, tt.want) })
	}
	t.Run("all at once", func(t *testing.T) {
		refused(t, ruled("{effect: x, groups: [a]}", "{effect: allow, providers: [p], clients: [z]}", "{effect: allow}"),
			at+"[0].effect: is not one of", at+"[1].providers[0]: is not the id", at+"[1].clients[0]: is neither", at+"[2]: does not say whom")
	})
}

// What is no mistake: rules that only look alike.
func TestPolicyAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"an exception":                  ruled("{effect: allow, anyone: true}", "{effect: deny, groups: [a]}"),
		"part of an allow is denied":    ruled("{effect: allow, groups: [a]}", "{effect: deny, groups: [a], scopes: [x]}"),
		"more for some":                 ruled("{effect: allow, anyone: true, scopes: ['read:*']}", "{effect: allow, groups: [admins]}"),
		"scopes and tools":              ruled("{effect: allow, anyone: true, scopes: [x]}", "{effect: allow, anyone: true, tools: [t]}"),
		"two groups":                    ruled("{effect: allow, groups: [a, b]}", "{effect: allow, groups: [b, c]}"),
		"group and client":              ruled("{effect: allow, groups: [a], clients: [our-app]}", "{effect: allow, groups: [a], clientKinds: [document]}"),
		"one of the subdomains":         ruled("{effect: allow, emailDomains: ['*.example.com', example.com]}"),
		"a subject":                     ruled("{effect: allow, users: ['idp.example.com:1', 'auth0|1', 'urn:x:y']}"),
		"a tool of the default":         hosted("{effect: allow, anyone: true}", "{effect: allow, groups: [a], tools: ['notes_*']}"),
		"an operator's client by URL":   strings.Replace(ruled("{effect: allow, clients: ['https://app.example/c']}", "{effect: allow, clientHosts: [app.example]}"), "id: our-app", "id: 'https://app.example/c'", 1),
		"advisory without scopes":       strings.Replace(ruled("{effect: allow, groups: [a]}"), "endpoint:", "toolPolicy: advisory, endpoint:", 1),
		"a denial in case it is of use": ruled("{effect: allow, groups: [a]}", "{effect: deny, groups: [b]}"),
	} {
		t.Run(name, func(t *testing.T) { mustParse(t, text) })
	}
}

func TestPolicySummary(t *testing.T) {
	got := mustParse(t, hosted("{effect: allow, anyone: true}, {effect: deny, groups: [b]}", "{effect: allow, groups: [c]}")).Summary()
	for _, want := range []string{"http://mcp:8080/mcp, 2 rules of the policy, 0 of them its own\n", "http://b/mcp, 2 rules of the policy, 1 of them its own\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("without %q:\n%s", want, got)
		}
	}
	if got := mustParse(t, minimal).Summary(); strings.Contains(got, "policy") {
		t.Error(got)
	}
}
