package forwardauth

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// View is what a token lets its holder see of the lists of its MCP server. It is
// comparable: equal views show the same.
type View struct {
	grant *Grant
	known Scopes
}

// View returns what the token of an allowed request may see, by what is known of
// the server now.
func (e *Endpoint) View(d *Decision) View { return View{d.grant, e.Scopes(d.Resource)} }

// Shows reports whether a list may show an entry: what can be used, by the
// decision that Decide would make about a use, and, unless the operator hides it,
// what could be after signing in for more. method is the one that uses the entry
// (tools/call, prompts/get, resources/read) with its name or URI, or
// resources/templates/list with a URI template.
func (v View) Shows(method, name string) bool {
	if v.grant.advised() {
		return true
	}
	switch reason, _ := judge(operation{method, name}, v.grant, v.known); reason {
	case Allowed:
		return true
	case InsufficientScope, ToolChanged:
		return !v.grant.Resource.Rules.HideGrantable
	}
	return false
}

// Reads is View for a request that Decide let pass before, at a gateway that has
// the answer to it filtered. lists is what Decision.Lists reports. ok is false for
// a request that would not be let pass now, and where the gateway does not say what
// the body asks for. It writes nothing down, and counts nothing.
func (e *Endpoint) Reads(ctx context.Context, q *Request) (v View, lists, ok bool) {
	var d Decision
	if !d.pass(e.locate(q, &d)) || !d.pass(theWayIn(q, &d)) || d.Resource.Page != nil || !d.pass(e.authenticate(ctx, q, &d)) {
		return View{}, false, false
	}
	reads := fromGateway
	if q.Dialect == ExtMCP {
		reads = fromBody
	}
	read, reason := reads(q)
	if reason != Allowed {
		return View{}, false, false
	}
	d.asked = read.ops
	if !d.pass(e.readList(ctx, q, &d)) {
		return View{}, false, false
	}
	return e.View(&d), d.Lists(), true
}

// MessageID is the id of the request that the body holds, as it is written in
// JSON; "null" where there is none, or several.
func (d *Decision) MessageID() string { return cmp.Or(d.id, "null") }

// readList waits, before a list is filtered, until it is known what the MCP server
// advertises, because a list of nothing looks like an answer. What stays unknown
// is not shown.
func (e *Endpoint) readList(ctx context.Context, q *Request, d *Decision) Reason {
	if !d.Lists() || len(e.Scopes(d.Resource).Advertised()) > 0 {
		return Allowed
	}
	if reason := e.learn(ctx, q, d); reason != CatalogueUnavailable {
		return reason
	}
	return Allowed
}

// Lists reports whether the answer to the request holds a list that View is about.
// It is known where the body decides.
func (d *Decision) Lists() bool {
	return slices.ContainsFunc(d.asked, func(op operation) bool { return IsList(op.method) })
}

// IsList reports whether the answer to a method of MCP holds a list that View is about.
func IsList(method string) bool {
	switch method {
	case toolsList, promptsList, resourcesList, templatesList:
		return true
	}
	return false
}

// advised reports whether the tool policy only advises: requests with such a
// grant pass whatever they do.
func (g *Grant) advised() bool {
	return g.Resource.Rules.ToolPolicy == rule.Advisory && !g.bound.LimitsTools
}

// matchesTemplate reports whether a pattern could match a URI that a template
// (RFC 6570) expands to: what is fixed in the one begins what is fixed in the other.
func matchesTemplate(pattern, template string) bool {
	fixed, _, variable := strings.Cut(template, "{")
	if !variable {
		return rule.Match(pattern, template)
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(prefix, fixed) || strings.HasPrefix(fixed, prefix)
	}
	return strings.HasPrefix(pattern, fixed)
}
