package forwardauth

import (
	"net/http"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// origin refuses requests of web pages that may not use the MCP server, before their
// token is looked at (MCP, "Security Warning" of the Streamable HTTP transport). Clients
// that are no browsers send no Origin. At a served host, this service checks the Origin
// in place of the MCP server: pages of the host itself and of the origins that are listed
// may use it. Behind a gateway it checks only if origins are listed.
func origin(q *Request, d *Decision) Reason {
	rules := &d.Resource.Rules
	if len(q.Origin) == 0 {
		return Allowed
	}
	if len(rules.AllowedOrigins) == 0 && q.Dialect != Served { // the MCP server checks it
		return Allowed
	}
	if own, ok := one(q.Origin); ok && q.Dialect == Served && own == d.Host.Issuer {
		return Allowed
	}
	if allowedOrigin(rules, q.Origin) == "" {
		return ForbiddenOrigin
	}
	return Allowed
}

// allowedOrigin returns the value for Access-Control-Allow-Origin, "" if the origin of
// the request is not allowed.
func allowedOrigin(rules *rule.Rules, lines []string) string {
	origin, ok := one(lines)
	if !ok {
		return ""
	}
	if slices.Contains(rules.AllowedOrigins, "*") {
		return "*"
	}
	if i := slices.Index(rules.AllowedOrigins, origin); i >= 0 {
		return rules.AllowedOrigins[i]
	}
	return ""
}

// preflight reports whether this is the question that a browser asks before the actual
// request, and always without a token (Fetch, section 4.8). It passes only if the
// operator allows the page's origin. The gateway is trusted to tell the client's method.
func preflight(q *Request, d *Decision) bool {
	return q.Method == http.MethodOptions && len(q.Authorization) == 0 && len(q.keyLines(d.Resource)) == 0 && len(q.PreflightMethod) == 1 &&
		allowedOrigin(&d.Resource.Rules, q.Origin) != ""
}

// Header values of answers to web pages. Access-Control-Allow-Headers lists each header,
// because "*" does not cover Authorization (Fetch, section 3.3.5).
const (
	exposedHeaders = "WWW-Authenticate, Mcp-Session-Id"
	allowedMethods = "GET, POST, DELETE"
	allowedHeaders = "Authorization, Content-Type, Accept, Last-Event-ID, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id"
)

// corsHeaders returns the headers that let an allowed web page read the answer.
func corsHeaders(q *Request, d *Decision) Lines {
	var l Lines
	if d.Resource == nil {
		return l
	}
	origin := allowedOrigin(&d.Resource.Rules, q.Origin)
	if origin == "" {
		return l
	}
	l.add("Access-Control-Allow-Origin", origin)
	exposed, dpop := exposedHeaders, d.Resource.DPoP.Accepts()
	if dpop {
		exposed += ", DPoP-Nonce"
	}
	l.add("Access-Control-Expose-Headers", exposed)
	l.add("Vary", "Origin")
	if d.Reason == Preflight {
		l.add("Access-Control-Allow-Methods", allowedMethods)
		allowed := allowedHeaders
		if dpop {
			allowed += ", DPoP"
		}
		if d.Resource.KeyHeader != "" {
			allowed += ", " + d.Resource.KeyHeader
		}
		l.add("Access-Control-Allow-Headers", allowed)
	}
	return l
}
