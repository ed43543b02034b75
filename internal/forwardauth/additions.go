package forwardauth

import (
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// Addition is a further header of one MCP server, or of a gateway on the way to it. Each
// request that passes gets it, beside the identity headers.
type Addition struct {
	Name string // canonical
	// Value returns the value of the header. v is what the request's token may see; it is
	// nil for a page.
	Value func(v *View) string
	// ServedOnly leaves the header out of answers to gateways: only served hosts get it.
	ServedOnly bool
}

// added returns the identity headers and the additions of the MCP server. A preflight has
// no user, so its additions have no value.
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

// Named are the names that lists may show, for gateways that filter lists by names.
type Named struct {
	Tools, Prompts []string
	// AllTools, AllPrompts and AllResources say that the list of this kind is shown
	// whole.
	AllTools, AllPrompts, AllResources bool
}

// Names returns what lists may show, by the names that are known here: the tools that the
// server lists, and what the configuration names without a wildcard.
func (v View) Names() (n Named) {
	rules := &v.grant.Resource.Rules
	advised := v.grant.advised()
	n.AllTools = advised
	n.AllPrompts = advised || !anyPattern(rules, prompts)
	n.AllResources = advised || !anyPattern(rules, resources)
	for _, tool := range withExact(v.known.ToolNames(), rules, func(r *rule.Scope) []string { return r.Tools }) {
		if v.Shows(toolsCall, tool) {
			n.Tools = append(n.Tools, tool)
		}
	}
	for _, prompt := range withExact(nil, rules, prompts) {
		if v.Shows(promptsGet, prompt) {
			n.Prompts = append(n.Prompts, prompt)
		}
	}
	return n
}

// withExact returns names and those patterns that name one thing exactly, sorted.
func withExact(names []string, rules *rule.Rules, patterns func(*rule.Scope) []string) []string {
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
