package lint

import (
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
)

var clients = Clients{{ID: "our-app"}, {ID: "narrow", Scopes: []string{"a"}, Resources: []string{"https://a.example.com/mcp"}}}

func at(rules ...rule.Rule) []rule.Rule {
	for i := range rules {
		rules[i].At = "rules[" + string(rune('0'+i)) + "]"
	}
	return rules
}

// Mistakes of whole configuration files are in the tests of package config; this
// is what depends on which rules are compared.
func TestShadowed(t *testing.T) {
	group := func(allow bool, names ...string) rule.Rule { return rule.Rule{Allow: allow, Groups: names} }
	for _, tt := range []struct {
		name   string
		rules  []rule.Rule
		others []rule.Rule // nil: the list itself
		want   []string
	}{
		{"different groups", at(group(true, "a"), group(true, "b")), nil, nil},
		{"the later of two equal rules", at(group(true, "a", "b"), group(true, "b", "a")), nil, []string{"rules[1] says the same as rules[0]"}},
		{"a chain names the widest", at(group(true, "x-1"), group(true, "x-*"), rule.Rule{Allow: true}), nil, []string{"rules[0] adds nothing, because rules[1] allows", "rules[1] adds nothing, because rules[2] allows"}},
		{"a rule that is useless explains no other", at(group(true, "x-*"), rule.Rule{Allow: true}, group(true, "x-1")), nil, []string{"rules[0] adds nothing, because rules[1]", "rules[2] adds nothing, because rules[1]"}},
		{"a denial is told before an allowance", at(group(true, "a"), rule.Rule{Allow: true}, group(false, "a")), nil, []string{"rules[0] allows nothing, because rules[2] denies"}},
		{"an equal denial elsewhere", at(group(false, "a")), []rule.Rule{{At: "policy.rules[0]", Groups: []string{"a"}}}, []string{"rules[0] adds nothing, because policy.rules[0] denies"}},
		{"no others", at(group(true, "a"), group(true, "a")), []rule.Rule{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := clients.Shadowed(tt.rules)
			if tt.others != nil {
				found = clients.ShadowedBy(tt.rules, tt.others)
			}
			if len(found) != len(tt.want) {
				t.Fatalf("%v, want %q", found, tt.want)
			}
			for i, want := range tt.want {
				if got := found[i].At + " " + found[i].Text; !strings.HasPrefix(got, want) {
					t.Errorf("%q, want %q", got, want)
				}
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	const uri = "https://b.example.com/mcp"
	rules := at(
		rule.Rule{Allow: true, Clients: []string{"narrow"}},
		rule.Rule{Allow: true, Clients: []string{"narrow", "our-app"}},
		rule.Rule{Allow: true, Clients: []string{"https://app.example/client"}},
		rule.Rule{Allow: false, Clients: []string{"narrow"}},
	)
	found := clients.Unreachable(rules, uri)
	if len(found) != 1 || found[0].At != "rules[0].clients" || !strings.Contains(found[0].Text, uri) {
		t.Errorf("%v", found)
	}
	if found := clients.Unreachable(rules, clients[1].Resources[0]); len(found) > 0 {
		t.Errorf("%v", found)
	}
}

// A URL that is the id of an entry of clients is no metadata document.
func TestContradiction(t *testing.T) {
	const id = "https://app.example/client"
	r := rule.Rule{Allow: true, Clients: []string{id}, ClientKinds: []string{rule.KindDocument}}
	if problem := clients.Contradiction(&r); problem != "" {
		t.Error(problem)
	}
	with := append(clients, registration.Known{ID: id})
	if problem := with.Contradiction(&r); problem != "none of its clients is among its clientKinds" {
		t.Errorf("%q", problem)
	}
}
