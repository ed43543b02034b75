package forwardauth

import (
	"context"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// authorize checks whether the token allows what the request does. If the policy is
// advisory, it writes down what would be denied and lets the request pass.
func (e *Endpoint) authorize(ctx context.Context, q *Request, d *Decision) Reason {
	reason := e.permitted(ctx, q, d)
	if reason == Allowed || !d.grant.advised() {
		return reason
	}
	e.auditDenial(ctx, audit.AccessAdvised, reason, q, d)
	return Advised
}

// permitted finds out what the request does, from its headers or its body, and whether
// the token allows all of it.
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
		if provable && !headersAgree(&q.Headers, body) {
			return HeaderMismatch
		}
		return e.permitAll(ctx, body.ops, q, d)
	case provable: // also if the gateway asks again about each message
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

// evidence returns what the decision is based on. A question of ExtMCP always has the
// message.
func (q *Request) evidence(provable bool, rules *rule.Rules) rule.Evidence {
	if q.Dialect == ExtMCP {
		return rule.Body
	}
	return rules.Evidence(provable)
}

// contentOf returns what the body asks for, as this service or the gateway read it.
func contentOf(q *Request, evidence rule.Evidence) (content, Reason) {
	if evidence == rule.Reading {
		return fromGateway(q)
	}
	return fromBody(q)
}

// headersAgree reports whether the headers say the same as the body (MCP, "Server
// Validation"). Batches are of a revision of MCP without these headers. A response, and a
// request without a body, have none.
func headersAgree(h *Headers, body content) bool {
	switch {
	case body.batch:
		return false
	case len(body.ops) == 0 || body.ops[0].method == "":
		return true
	}
	op, reason := fromHeaders(h)
	return reason == Allowed && op == body.ops[0]
}

// permitAll permits all operations or none. An operation that no scope can open decides
// at once. Otherwise all missing scopes are named together.
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

// permit decides about one operation, and notes in d what was refused and the scope that
// would open it.
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
	case AmbiguousURI: // the URI is not fit for the log
		return reason
	}
	d.refused = op
	return reason
}

// judge returns whether g allows an operation, given what is known of the MCP server. If
// the person could allow it by agreeing to more, needed is the scope to ask for. Lists
// are filtered by the same rule, see View.Shows.
func judge(op operation, g *Grant, known Scopes) (reason Reason, needed string) {
	rules := &g.Resource.Rules
	openers, reason := openersOf(op, rules, known)
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
		case len(known.Advertised()) == 0: // the server's list is not known
			return CatalogueUnavailable, ""
		case !known.Lists(tool): // so no consent page can show it
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
	// Name a scope only if a new sign-in can give it. Otherwise clients would sign in forever.
	needed, ok := narrowest(rules, g.bound.Obtainable(tool, openers), grantable)
	if !ok {
		return NotAllowed, ""
	}
	return missing, needed
}

// openersOf returns the scopes that open an operation, each of which is enough, and
// Undecided. If scopes do not matter for the operation, it returns the decision.
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
	case templatesList: // op is about one template of the list
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

func resources(r *rule.Scope) []string { return r.Resources }
func prompts(r *rule.Scope) []string   { return r.Prompts }

// anyPattern reports whether any scope of the configuration has such patterns.
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

// narrowest returns the first of openers that can be granted and does not include another
// of them. If each includes another one, it returns the first that can be granted. ok is
// false if none can be granted.
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

// plainURI reports whether patterns can judge the URI: no part of it leads to another
// place (".", encoded separators), and it cannot be two values that a proxy joined by a
// comma.
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
