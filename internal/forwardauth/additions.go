package forwardauth

import (
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// Addition is a header that one MCP server, or a gateway on the way there, gets with
// each allowed request beside the identity headers.
type Addition struct {
	Name string // canonical
	// Value makes the value for a request that may see v, nil where it is a page's.
	Value func(v *View) string
	// ServedOnly keeps it from gateways.
	ServedOnly bool
}

// added are the identity headers with the additions of the MCP server. A preflight,
// which no one stands behind, gives them no value.
func (e *Endpoint) added(q *Request, d *Decision, identity Lines) Lines {
	additions := e.Additions[d.Resource.Server().URI]
	if len(additions) == 0 {
		return identity
	}
	lines := Lines{slices.Clone(identity.Names), slices.Clone(identity.Values)}
	for _, a := range additions {
		switch {
		case a.ServedOnly && q.Dialect != Served:
		case d.Reason == Preflight:
			lines.add(a.Name, nothing)
		case d.grant == nil:
			lines.add(a.Name, a.Value(nil))
		default:
			v := e.View(d)
			lines.add(a.Name, a.Value(&v))
		}
	}
	return lines
}

// Named are the names of what lists may show, for gateways that filter them.
type Named struct {
	Tools, Prompts []string
	// A list without bounds is shown whole, whatever is in it.
	AllTools, AllPrompts, AllResources bool
}

// Names returns what lists may show, by the names that are known here: tools of the
// server's list, and what the configuration names exactly.
func (v View) Names() (n Named) {
	rules := &v.grant.Resource.Rules
	advised := v.grant.advised()
	n.AllTools = advised
	n.AllPrompts = advised || !anyPattern(rules, prompts)
	n.AllResources = advised || !anyPattern(rules, resources)
	for _, tool := range known(v.known.ToolNames(), rules, func(r *rule.Scope) []string { return r.Tools }) {
		if v.Shows(toolsCall, tool) {
			n.Tools = append(n.Tools, tool)
		}
	}
	for _, prompt := range known(nil, rules, prompts) {
		if v.Shows(promptsGet, prompt) {
			n.Prompts = append(n.Prompts, prompt)
		}
	}
	return n
}

// known are names with those that patterns of the configuration are, sorted.
func known(names []string, rules *rule.Rules, patterns func(*rule.Scope) []string) []string {
	names = slices.Clone(names)
	for i := range rules.Scopes {
		for _, p := range patterns(&rules.Scopes[i]) {
			if !strings.HasSuffix(p, "*") {
				names = append(names, p)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
