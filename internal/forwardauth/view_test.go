package forwardauth

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// world is a random MCP server with random rules.
type world struct {
	*fixture
	raw string // a token
}

const worldURI = "https://a.example/mcp"

// pick returns some of the values, with the given chance for each.
func pick(r *rand.Rand, chance float64, values ...string) []string {
	var out []string
	for _, v := range values {
		if r.Float64() < chance {
			out = append(out, v)
		}
	}
	return out
}

var (
	worldScopes  = []string{"s0", "s1", "s2", "s3"}
	worldTools   = []string{"t0", "t1", "t2", "t3", "u4", "u5"}
	worldURIs    = []string{"note://a/1", "note://a/2", "note://b/1", "note://b/../a", "file:///x"}
	worldPrompts = []string{"p0", "p1", "q2"}
)

func newWorld(t *testing.T, r *rand.Rand) *world {
	scopes := fixed{names: worldScopes, known: r.IntN(8) > 0, tools: map[string][]string{}}
	for _, tool := range worldTools {
		scopes.tools[tool] = pick(r, .3, worldScopes...)
	}
	var policies []rule.Rule
	for range r.IntN(4) {
		p := rule.Rule{Allow: r.IntN(3) > 0}
		switch r.IntN(3) {
		case 0:
			p.Scopes = append(pick(r, .5, worldScopes...), "s0")
		case 1:
			p.Tools = append(pick(r, .4, "t0", "t1", "u4", "t*"), "t2")
		}
		policies = append(policies, p)
	}
	f := newFixture(t, "a.example/mcp", func(_ string, rules *rule.Rules) {
		rules.Body = true
		rules.HideGrantable = r.IntN(2) == 0
		rules.ToolPolicy = []rule.ToolPolicy{rule.Enforce, rule.Enforce, rule.Strict, rule.Advisory}[r.IntN(4)]
		for _, s := range worldScopes[2:] {
			rules.Scopes = append(rules.Scopes, rule.Scope{
				Name: s, Resources: pick(r, .3, "note://a/*", "note://b/1", "*"), Prompts: pick(r, .3, "p*", "q2"), Includes: pick(r, .3, "s0", "s1"),
			})
		}
	})
	f.Endpoint.Scopes = func(*resource.Resource) Scopes { return &scopes }
	rules := policy.New(tableOf(t, resource.Entry{Host: "a.example", Scheme: "https", Path: "/mcp", Policy: policies}), nil, func(_, scope string) ([]string, bool) {
		var opened []string
		for tool, by := range scopes.tools {
			if strings.Contains(strings.Join(by, " "), scope) {
				opened = append(opened, tool)
			}
		}
		return opened, scopes.known
	})
	f.Policy = rules
	match := rules.For(worldURI).Match(connector.Identity{Namespace: "static", Subject: "jane"}, policy.Client{})
	return &world{f, f.mint(t, f.issuer, worldURI, strings.Join(pick(r, .5, worldScopes...), " "), token.Person{Policy: match.String()})}
}

// decide asks about one message.
func (w *world) decide(method, params string) Decision {
	return w.Decide(context.Background(), &Request{
		Dialect: Forwarded, Method: "POST", Host: "a.example", Path: "/mcp",
		Headers: Headers{Authorization: []string{"Bearer " + w.raw}, ContentType: []string{"application/json"}},
		Body:    strings.NewReader(message(method, params)),
	})
}

// What a list shows can be used, and what can be used is shown, whatever the
// scopes, the rules and the policy are. What is shown beyond that can be had by
// signing in for more.
func TestViewIsTheDecision(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(t, r)
		list := w.decide("tools/list", "")
		if !list.Allowed() {
			seen["no list"]++
			continue
		}
		if !list.Lists() {
			t.Fatal("tools/list is not known for a list")
		}
		view := w.View(&list)
		if view != w.View(&list) {
			t.Fatal("equal views differ")
		}
		check := func(method, member, name string) {
			call := w.decide(method, fmt.Sprintf(`{%q:%q}`, member, name))
			shown, hide := view.Shows(method, name), list.Resource.Rules.HideGrantable
			want := call.Allowed() || call.Reason == InsufficientScope && !hide
			if shown != want {
				t.Errorf("seed %d: %s %s is shown: %v; a use of it: %s, grantable are hidden: %v", seed, method, name, shown, call.Reason, hide)
			}
			seen[call.Reason.String()]++
		}
		for _, tool := range append(worldTools, "unknown") {
			check("tools/call", "name", tool)
		}
		for _, uri := range worldURIs {
			check("resources/read", "uri", uri)
		}
		for _, p := range worldPrompts {
			check("prompts/get", "name", p)
		}
	}
	for _, r := range []Reason{Allowed, Advised, InsufficientScope, NoScope, NotAllowed, CatalogueUnavailable, AmbiguousURI} {
		if seen[r.String()] == 0 {
			t.Errorf("no case of %s: %v", r, seen)
		}
	}
}

func TestLists(t *testing.T) {
	w := &world{fixture: newFixture(t, "a.example/mcp", func(_ string, r *rule.Rules) { r.Body = true })}
	w.raw = w.token(t, worldURI, "read")
	for method, want := range map[string]bool{
		"tools/list": true, "prompts/list": true, "resources/list": true, "resources/templates/list": true, "tools/LIST": false, "ping": false, "initialize": false,
	} {
		if d := w.decide(method, ""); d.Lists() != want {
			t.Errorf("%s: %v", method, !want)
		}
	}
}

func TestMatchesTemplate(t *testing.T) {
	for _, tt := range []struct {
		pattern, template string
		want              bool
	}{
		{"note://a/*", "note://a/{id}", true}, {"note://a/*", "note://{box}/1", true}, {"note://a/*", "{+any}", true}, {"note://a/*", "note://b/{id}", false},
		{"note://a/1", "note://a/{id}", true}, {"note://a/1", "note://b/{id}", false}, {"note://a/1", "note://a/1", true}, {"note://a/1", "note://a/2", false}, {"*", "x://{y}", true},
	} {
		if got := matchesTemplate(tt.pattern, tt.template); got != tt.want {
			t.Errorf("%s, %s: %v", tt.pattern, tt.template, got)
		}
	}
}
