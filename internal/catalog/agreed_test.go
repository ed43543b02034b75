package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// listed is a catalogue of these tools, all in the scope "s".
func listed(salt byte, tools ...*mcp.Tool) *Catalogue {
	c := newCollector()
	if err := c.addTools(tools); err != nil {
		panic(err)
	}
	var names []any
	for _, t := range tools {
		names = append(names, t.Name)
	}
	c.addScopes([]any{map[string]any{"name": "s", "tools": names}, map[string]any{"name": "other", "tools": []any{}}})
	out, err := c.catalogue()
	if err != nil {
		panic(err)
	}
	out.salt = [SecretBytes]byte{salt}
	return out
}

func toolNamed(name string) *mcp.Tool {
	return &mcp.Tool{Name: name, Title: "T", Description: "does " + name, InputSchema: map[string]any{"type": "object"}}
}

// Whatever a server says of a tool to a model is what people agreed to.
func TestAgreesToWhatWasSaid(t *testing.T) {
	yes := true
	for name, change := range map[string]func(*mcp.Tool){
		"description":            func(t *mcp.Tool) { t.Description += " and mails it to Mallory" },
		"end of a long one":      func(t *mcp.Tool) { t.Description += strings.Repeat(" ", 10_000) + "!" },
		"title":                  func(t *mcp.Tool) { t.Title = "U" },
		"input":                  func(t *mcp.Tool) { t.InputSchema = map[string]any{"type": "object", "required": []any{"password"}} },
		"output":                 func(t *mcp.Tool) { t.OutputSchema = map[string]any{"type": "object"} },
		"destructive by its own": func(t *mcp.Tool) { t.Annotations = &mcp.ToolAnnotations{DestructiveHint: &yes} },
		"read only by its own":   func(t *mcp.Tool) { t.Annotations = &mcp.ToolAnnotations{ReadOnlyHint: true} },
	} {
		agreed := listed(1, toolNamed("a"), toolNamed("b")).Agree([]string{"s"})
		b := toolNamed("b")
		change(b)
		now := listed(1, b, toolNamed("a"), toolNamed("c"))
		if !now.Agrees(agreed, "a") || now.Agrees(agreed, "b") || now.Agrees(agreed, "c") || now.Agrees(agreed, "gone") {
			t.Errorf("%s: a %v, b %v, c %v", name, now.Agrees(agreed, "a"), now.Agrees(agreed, "b"), now.Agrees(agreed, "c"))
		}
		if tools, differs := now.Differ(agreed, "s"); !differs || !slices.Equal(tools, []string{"b", "c"}) {
			t.Errorf("%s: %v %v", name, tools, differs)
		}
		if tools, differs := now.Differ(agreed, "other"); differs || len(tools) > 0 {
			t.Errorf("%s: a scope that opens nothing differs by %v", name, tools)
		}
	}
}

// The order of the list, and an older key of this service, change nothing: each
// agreement has the salt that it was made with.
func TestAgreementLasts(t *testing.T) {
	agreed := listed(1, toolNamed("a"), toolNamed("b")).Agree([]string{"s"})
	now := listed(2, toolNamed("b"), toolNamed("a"))
	if !now.Agrees(agreed, "a") || !now.Agrees(agreed, "b") {
		t.Error("another order or another secret made other tools of them")
	}
	if now.Agree([]string{"s"}) == agreed {
		t.Error("two secrets give the same agreement: a server could compute it")
	}
	if tools, differs := now.Differ(agreed, "s"); differs {
		t.Errorf("differs by %v", tools)
	}
}

// More tools than a token has room for are agreed to scope by scope.
func TestAgreementToMany(t *testing.T) {
	var tools []*mcp.Tool
	for i := range 2000 {
		tools = append(tools, toolNamed(fmt.Sprint("tool", i)))
	}
	agreed := listed(1, tools...).Agree([]string{"s", "other"})
	if len(agreed) > 64 {
		t.Errorf("%d bytes", len(agreed))
	}
	if most := listed(1, tools[:maxAgreed]...).Agree([]string{"s"}); len(most) > 700 {
		t.Errorf("%d bytes for %d tools", len(most), maxAgreed)
	}
	if now := listed(1, tools...); !now.Agrees(agreed, "tool7") {
		t.Error("nothing changed")
	}
	tools[1999] = &mcp.Tool{Name: "tool1999", Description: "other", InputSchema: tools[0].InputSchema}
	now := listed(1, tools...)
	if names, differs := now.Differ(agreed, "s"); now.Agrees(agreed, "tool7") || !differs || names != nil {
		t.Errorf("%v %v", names, differs)
	}
	if _, differs := now.Differ(agreed, "other"); differs {
		t.Error("a scope that opens nothing differs")
	}
}

// What cannot be known is not agreed to.
func TestAgreementFailsClosed(t *testing.T) {
	c := listed(1, toolNamed("a"))
	good := c.Agree([]string{"s"})
	for _, agreed := range []string{"", "x", "dA", AgreedToNothing, Baseline().Agree([]string{"s"}), good[:len(good)-1], c.Agree([]string{"other"}), c.Agree(nil)} {
		if c.Agrees(agreed, "a") {
			t.Errorf("%q agrees", agreed)
		}
	}
	if Baseline().Agrees(good, "a") || Baseline().with([]rule.Scope{{Name: "s", Tools: []string{"a"}}}).Agrees(good, "a") {
		t.Error("a server that cannot be read agrees")
	}
	if _, differs := Baseline().Differ(good, "s"); differs {
		t.Error("a server that cannot be read is said to have changed")
	}
}

// A scope of the operator's stands for what it includes, also in an agreement.
func TestAgreementToIncluded(t *testing.T) {
	rules := []rule.Scope{{Name: "wide", Tools: []string{"w*"}, Includes: []string{"narrow"}}, {Name: "narrow", Tools: []string{"n*"}}}
	c := listed(1, toolNamed("w1"), toolNamed("n1"), toolNamed("x")).with(rules)
	agreed := c.Agree([]string{"wide"})
	if !c.Agrees(agreed, "w1") || !c.Agrees(agreed, "n1") || c.Agrees(agreed, "x") {
		t.Errorf("w1 %v n1 %v x %v", c.Agrees(agreed, "w1"), c.Agrees(agreed, "n1"), c.Agrees(agreed, "x"))
	}
}

func TestDifference(t *testing.T) {
	changed := toolNamed("b")
	changed.Description = "other"
	before := listed(1, toolNamed("a"), toolNamed("b"), toolNamed("c")).Snapshot()
	now := listed(2, changed, toolNamed("d"), toolNamed("a")).Snapshot()
	if d := now.Since(before); fmt.Sprint(d) != "{[d] [b] [c] [s]}" || d.None() {
		t.Errorf("%v", d)
	}
	if d := before.Since(before); !d.None() {
		t.Errorf("%v", d)
	}
	many := make([]string, 13)
	for i := range many {
		many[i] = fmt.Sprint("t", i)
	}
	if got := Names(many); got != "t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 and 3 more" {
		t.Error(got)
	}
}
