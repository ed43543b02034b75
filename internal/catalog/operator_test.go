package catalog

import (
	"slices"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

func TestOperatorScopes(t *testing.T) {
	tools := []Tool{{Name: "read"}, {Name: "write"}, {Name: "write_all"}, {Name: "odd"}}
	declared := func() *Catalogue {
		return &Catalogue{Declared: true, Tools: tools, Scopes: []Scope{
			{Name: "r", Tools: []string{"read", "write"}}, {Name: "w", Tools: []string{"write"}},
		}}
	}
	undeclared := func() *Catalogue { return &Catalogue{Tools: tools, Scopes: []Scope{defaultScope(tools)}} }
	rules := []rule.Scope{
		{Name: "w2", Tools: []string{"write*", "hidden"}},
		{Name: "r", Tools: []string{"odd"}},
		{Name: "bundle", Includes: []string{"r", "w2"}},
	}
	for name, tt := range map[string]struct {
		c      *Catalogue
		scopes []string
		opens  map[string][]string
		knows  map[string]bool
	}{
		"declared": {declared(), []string{"r", "w2", "bundle"}, map[string][]string{
			"read": {"r"}, "write": {"w2"}, "write_all": {"w2"}, "odd": {"r"}, "hidden": {"w2"}, "write_later": {"w2"}, "nothing": nil, "": nil,
		}, map[string]bool{"read": true, "nothing": true}},
		"undeclared": {undeclared(), []string{"mcp", "w2", "r", "bundle"}, map[string][]string{
			"read": {"mcp"}, "write": {"w2"}, "odd": {"r"}, "hidden": {"w2"}, "nothing": {"mcp"},
		}, map[string]bool{"read": true}},
		"baseline": {Baseline(), []string{"mcp", "w2", "r", "bundle"}, map[string][]string{
			"read": nil, "write": {"w2"}, "hidden": {"w2"},
		}, map[string]bool{"read": false, "write": true}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.c.with(rules)
			if names := got.ScopeNames(); !slices.Equal(names, tt.scopes) {
				t.Errorf("scopes %q, want %q", names, tt.scopes)
			}
			for tool, want := range tt.opens {
				if scopes := got.ScopesForTool(tool); !slices.Equal(scopes, want) {
					t.Errorf("%q is opened by %q, want %q", tool, scopes, want)
				}
			}
			for tool, want := range tt.knows {
				if got.Knows(tool) != want {
					t.Errorf("knows %q: %v", tool, !want)
				}
			}
		})
	}
	t.Run("the consent page shows what a scope opens", func(t *testing.T) {
		if s, _ := declared().with(rules).Scope("w2"); !slices.Equal(s.Tools, []string{"write", "write_all"}) {
			t.Errorf("w2 shows %q", s.Tools)
		}
	})
	t.Run("a server that comes back does not change the hash of the operator's scopes", func(t *testing.T) {
		if Baseline().with(rules).hashScope("w2") != declared().with(rules).hashScope("w2") {
			t.Error("it does")
		}
		other := []rule.Scope{{Name: "w2", Tools: []string{"*"}}}
		if declared().with(rules).hashScope("w2") == declared().with(other).hashScope("w2") {
			t.Error("a wider scope has the same hash")
		}
	})
}
