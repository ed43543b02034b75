package forwardauth

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// View is what a token lets its holder see of the lists of its MCP server. Views can be
// compared with ==: equal views show the same.
type View struct {
	grant *Grant
	known Scopes
}

// View returns what the token of an allowed request may see, by what is known of the
// server now.
func (e *Endpoint) View(d *Decision) View { return View{d.grant, e.Scopes(d.Resource)} }

// Shows reports whether a list may show an entry. It shows what the token can use, by the
// same rule as Decide, and also what the person could get by agreeing to more, unless the
// operator hides that. method is the one that uses the entry (tools/call, prompts/get,
// resources/read), and name its name or URI. For an entry of resources/templates/list,
// method is that and name the URI template.
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

// Reads is View for a gateway that has the answer to a request filtered after Decide let
// the request pass. lists is Decision.Lists. ok is false if the request would not pass
// any more, or if the gateway does not tell what the body asks for. Reads writes no audit
// entry and counts nothing.
func (e *Endpoint) Reads(ctx context.Context, q *Request) (v View, lists, ok bool) {
	var d Decision
	if !d.pass(e.locate(q, &d)) || !d.pass(rightEntrance(q, &d)) || d.Resource.Page != nil || !d.pass(e.authenticate(ctx, q, &d)) {
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

// MessageID returns the id of the one request in the body, as JSON: "null" if there is
// none, or several.
func (d *Decision) MessageID() string { return cmp.Or(d.id, "null") }

// readList waits, before a list is filtered, until the MCP server's own list is known: an
// empty list would look like an answer. If the list stays unknown, the request passes and
// little is shown.
func (e *Endpoint) readList(ctx context.Context, q *Request, d *Decision) Reason {
	if !d.Lists() || len(e.Scopes(d.Resource).Advertised()) > 0 {
		return Allowed
	}
	if reason := e.learn(ctx, q, d); reason != CatalogueUnavailable {
		return reason
	}
	return Allowed
}

// Lists reports whether the answer to the request holds a list that View filters. It is
// known if the decision read the body.
func (d *Decision) Lists() bool {
	return slices.ContainsFunc(d.asked, func(op operation) bool { return IsList(op.method) })
}

// IsList reports whether the answer to the MCP method holds a list that View filters.
func IsList(method string) bool {
	switch method {
	case toolsList, promptsList, resourcesList, templatesList:
		return true
	}
	return false
}

// advised reports whether the tool policy only advises, so that every request with such a
// token passes.
func (g *Grant) advised() bool {
	return g.Resource.Rules.ToolPolicy == rule.Advisory && !g.bound.LimitsTools
}

// matchesTemplate reports whether a pattern could match a URI that the template expands
// to (RFC 6570): one of their fixed beginnings is the beginning of the other.
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
