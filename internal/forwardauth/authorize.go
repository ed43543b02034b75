package forwardauth

import (
	"context"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// authorize asks whether the token opens what the request does. An advisory
// policy writes the answer down and lets the request pass.
func (e *Endpoint) authorize(ctx context.Context, q *Request, d *Decision) Reason {
	reason := e.permitted(ctx, q, d)
	if reason == Allowed || !d.grant.advised() {
		return reason
	}
	e.auditDenial(ctx, audit.AccessAdvised, reason, q, d)
	return Advised
}

// permitted finds out what the request does, and whether the token's scopes
// open all of it.
func (e *Endpoint) permitted(ctx context.Context, q *Request, d *Decision) Reason {
	rules := &d.Resource.Rules
	provable, reason := modern(q.ProtocolVersion)
	if reason != Allowed {
		return reason
	}
	switch evidence := q.evidence(provable, rules); {
	case evidence == rule.Body, evidence == rule.Reading:
		body, reason := contentOf(q, evidence)
		if reason != Allowed {
			return reason
		}
		d.clientTrace, d.asked, d.id = body.trace, body.ops, body.id
		if provable && !agree(&q.Headers, body) {
			return HeaderMismatch
		}
		return e.permitAll(ctx, body.ops, q, d)
	case provable: // at a gateway that asks again about each message, too
		op, reason := fromHeaders(&q.Headers)
		if reason != Allowed {
			return reason
		}
		return e.permit(ctx, op, q, d)
	case evidence == rule.Message: // the gateway asks again
	case rules.ToolPolicy == rule.Strict, d.grant.bound.LimitsTools, d.grant.agreed != "":
		return OldProtocol
	}
	return Allowed // the coarse rule: any valid token of the resource
}

// evidence is what the decision rests on. A question about one message has it.
func (q *Request) evidence(provable bool, rules *rule.Rules) rule.Evidence {
	if q.Dialect == ExtMCP {
		return rule.Body
	}
	return rules.Evidence(provable)
}

// contentOf finds out what the body asks for, by itself or as the gateway read it.
func contentOf(q *Request, evidence rule.Evidence) (content, Reason) {
	if evidence == rule.Reading {
		return fromGateway(q)
	}
	return fromBody(q)
}

// agree reports whether the headers say what the body says (MCP, "Server
// Validation"). Batches are of a revision without such headers; a response, and
// a request without a body, have none.
func agree(h *Headers, body content) bool {
	switch {
	case body.batch:
		return false
	case len(body.ops) == 0 || body.ops[0].method == "":
		return true
	}
	op, reason := fromHeaders(h)
	return reason == Allowed && op == body.ops[0]
}

// permitAll permits all or nothing. What no scope can cure comes first, and the
// scopes that are missing are named all at once.
func (e *Endpoint) permitAll(ctx context.Context, ops []operation, q *Request, d *Decision) Reason {
	result := Allowed
	for _, op := range ops {
		switch reason := e.permit(ctx, op, q, d); reason {
		case Allowed:
		case InsufficientScope, ToolChanged:
			result = reason
		default:
			return reason
		}
	}
	return result
}

// permit decides one operation. If a scope is missing it notes which.
func (e *Endpoint) permit(ctx context.Context, op operation, q *Request, d *Decision) Reason {
	reason, needed := judge(op, d.grant, e.Scopes(d.Resource))
	if reason == CatalogueUnavailable {
		if reason = e.learn(ctx, q, d); reason == Allowed {
			reason, needed = judge(op, d.grant, e.Scopes(d.Resource))
		}
	}
	switch reason {
	case Allowed:
		return Allowed
	case InsufficientScope, ToolChanged:
		d.needed = d.needed.Union(oauth.Scopes{needed})
	case AmbiguousURI: // the URI is not one to write down
		return reason
	}
	d.refused = op
	return reason
}

// judge says whether g opens an operation at an MCP server of which this is known,
// and where agreeing to more would help for which scope. What a list shows is
// decided by it too.
func judge(op operation, g *Grant, known Scopes) (reason Reason, needed string) {
	rules := &g.Resource.Rules
	openers, reason := openersOf(op, rules, known) // any one of them opens it
	if reason != Undecided {
		return reason, ""
	}
	tool := "" // the rules of the policy know scopes and tools
	if op.method == toolsCall {
		tool = op.name
	}
	missing := InsufficientScope
	if slices.ContainsFunc(openers, func(s string) bool { return g.opens[s] }) && (tool == "" || g.bound.MayCall(tool, openers)) {
		switch {
		case tool == "" || g.agreed == "" || known.Agrees(g.agreed, tool):
			return Allowed, ""
		case len(known.Advertised()) == 0: // the list is not known now
			return CatalogueUnavailable, ""
		case !known.Lists(tool): // no page could show it
			return ToolNotListed, ""
		}
		missing = ToolChanged
		openers = slices.DeleteFunc(slices.Clone(openers), func(s string) bool { return !g.opens[s] })
	}
	if op.method == toolsCall && !known.Knows(op.name) {
		return CatalogueUnavailable, ""
	}
	if g.key {
		return APIKeyNotEnough, ""
	}
	grantable := known.ScopeNames()
	if _, ok := narrowest(rules, openers, grantable); !ok {
		return NoScope, ""
	}
	// Signing in again must be able to help, or clients would do so forever.
	needed, ok := narrowest(rules, g.bound.Obtainable(tool, openers), grantable)
	if !ok {
		return NotAllowed, ""
	}
	return missing, needed
}

// openersOf returns the scopes any one of which opens an operation, or the reason
// where no scope has a say.
func openersOf(op operation, rules *rule.Rules, known Scopes) ([]string, Reason) {
	switch op.method {
	case toolsCall:
		return known.ScopesForTool(op.name), Undecided
	case resourcesRead:
		if !anyPattern(rules, resources) {
			return nil, Allowed
		}
		if !plainURI(op.name) {
			return nil, AmbiguousURI
		}
		return matching(rules, resources, op.name, rule.Match), Undecided
	case templatesList: // of one template, in a list
		if !anyPattern(rules, resources) {
			return nil, Allowed
		}
		return matching(rules, resources, op.name, matchesTemplate), Undecided
	case promptsGet:
		if !anyPattern(rules, prompts) {
			return nil, Allowed
		}
		return matching(rules, prompts, op.name, rule.Match), Undecided
	}
	return nil, Allowed
}

// resources and prompts select the patterns of a rule.
func resources(r *rule.Scope) []string { return r.Resources }
func prompts(r *rule.Scope) []string   { return r.Prompts }

// anyPattern reports whether the operator has named any resource, or prompt.
func anyPattern(rules *rule.Rules, patterns func(*rule.Scope) []string) bool {
	for i := range rules.Scopes {
		if len(patterns(&rules.Scopes[i])) > 0 {
			return true
		}
	}
	return false
}

// matching returns the scopes whose patterns match name.
func matching(rules *rule.Rules, patterns func(*rule.Scope) []string, name string, matches func(pattern, name string) bool) []string {
	var out []string
	for i := range rules.Scopes {
		if slices.ContainsFunc(patterns(&rules.Scopes[i]), func(p string) bool { return matches(p, name) }) {
			out = append(out, rules.Scopes[i].Name)
		}
	}
	return out
}

// narrowest returns the first of openers that can be granted and does not stand
// for another of them.
func narrowest(rules *rule.Rules, openers, grantable []string) (string, bool) {
	best := ""
	for _, o := range openers {
		if !slices.Contains(grantable, o) {
			continue
		}
		if best == "" {
			best = o
		}
		wide := slices.ContainsFunc(rules.WithIncluded([]string{o}), func(s string) bool { return s != o && slices.Contains(openers, s) })
		if !wide {
			return o, true
		}
	}
	return best, best != ""
}

// plainURI reports whether a pattern can judge the URI: nothing in it leads
// elsewhere, and it cannot be two values that a proxy joined.
func plainURI(uri string) bool {
	for i := range len(uri) {
		switch c := uri[i]; {
		case c <= ' ' || c == 0x7f || c == '\\' || c == ',':
			return false
		case c == '%' && i+2 < len(uri):
			switch strings.ToLower(uri[i+1 : i+3]) {
			case "25", "2e", "2f", "5c":
				return false
			}
		}
	}
	for segment := range strings.FieldsFuncSeq(uri, func(r rune) bool { return r == '/' || r == '?' || r == '#' || r == ';' }) {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
