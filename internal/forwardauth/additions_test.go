package forwardauth

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// An addition replaces the client's own header, only at its resource, and without a
// token it says nothing.
func TestAdditions(t *testing.T) {
	f := newFixture(t, "a.example/mcp b.example/mcp", func(_ string, r *rule.Rules) { r.AllowedOrigins = []string{"*"} })
	f.Endpoint.Additions = map[string][]Addition{"https://a.example/mcp": {
		{Name: "X-Names", Value: func(v *View) string { return strings.Join(v.Names().Tools, " ") }},
		{Name: "X-Inside", ServedOnly: true, Value: func(*View) string { return "secret" }},
	}}
	for _, r := range f.Resources.All() {
		f.upstream[r.Index].removal = f.removalOf(r)
	}
	ask := func(host, method string, h Headers) Decision {
		return f.Decide(t.Context(), &Request{Dialect: Forwarded, Method: method, Host: host, Path: "/mcp", Headers: h})
	}
	value := func(d Decision, name string) string {
		if i := slices.Index(d.Headers.Names, name); i >= 0 {
			return d.Headers.Values[i]
		}
		return ""
	}
	token := func(host, scope string) Headers {
		return Headers{Authorization: []string{"Bearer " + f.token(t, "https://"+host+"/mcp", scope)}}
	}
	d := ask("a.example", "POST", token("a.example", "read"))
	if got := value(d, "X-Names"); !d.Allowed() || got != "=?base64?bGlzdA==?= get list naïve put" {
		t.Errorf("%s: %q", d.Reason, got)
	}
	if !slices.Contains(d.Remove, "x_names") || value(d, "X-Inside") != "" {
		t.Errorf("%v, removed %v", d.Headers, d.Remove)
	}
	if d := ask("a.example", "OPTIONS", Headers{Origin: []string{"https://x.example"}, PreflightMethod: []string{"POST"}}); d.Reason != Preflight || value(d, "X-Names") != "-" {
		t.Errorf("preflight: %s, want %v: %v", d.Reason, Preflight, d.Headers)
	}
	if d := ask("a.example", "POST", Headers{}); slices.Contains(d.Headers.Names, "X-Names") {
		t.Errorf("a denial says %v", d.Headers)
	}
	if d := ask("b.example", "POST", token("b.example", "read")); !d.Allowed() || slices.Contains(d.Headers.Names, "X-Names") || slices.Contains(d.Remove, "x_names") || len(d.Headers.Names) != len(f.names) {
		t.Errorf("another resource: %v", d.Headers)
	}
}

// Names are what Shows shows, and a list is whole where nothing bounds it.
func TestNames(t *testing.T) {
	for _, tt := range []struct {
		rules rule.Rules
		scope string
		want  string
	}{
		{rule.Rules{HideGrantable: true}, "read", "[get list] [] false true true"},
		{rule.Rules{HideGrantable: true}, "write", "[=?base64?bGlzdA==?= get naïve put] [] false true true"},
		{rule.Rules{ToolPolicy: rule.Advisory}, "read", "[=?base64?bGlzdA==?= get list naïve put] [] true true true"},
		{rule.Rules{HideGrantable: true, Scopes: []rule.Scope{
			{Name: "read", Prompts: []string{"p", "q*"}, Resources: []string{"note://*"}, Tools: []string{"own", "any*"}}, {Name: "write", Prompts: []string{"w"}},
		}}, "read", "[get list own] [p] false false false"},
	} {
		f := newFixture(t, "a.example/mcp", func(_ string, r *rule.Rules) { *r = tt.rules })
		f.scopes.tools["own"] = []string{"read"}
		if len(tt.rules.Scopes) == 0 {
			delete(f.scopes.tools, "own")
		}
		q := Request{Dialect: Forwarded, Method: "POST", Host: "a.example", Path: "/mcp", Headers: Headers{Authorization: []string{"Bearer " + f.token(t, "https://a.example/mcp", tt.scope)}}}
		d := f.Decide(t.Context(), &q)
		v := f.View(&d)
		n := v.Names()
		if got := fmt.Sprint(n.Tools, n.Prompts, n.AllTools, n.AllPrompts, n.AllResources); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.rules, got, tt.want)
		}
	}
}
