package forwardauth

import (
	"net/http"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// origin refuses a page that may not use the MCP server, before its token is
// looked at (MCP, "Security Warning" of the Streamable HTTP transport). Clients
// that are no browsers send no Origin. Where this service stands in front of the
// server itself it is the one that looks: pages of the host itself and of the
// origins that are listed may use the server, others not.
func origin(q *Request, d *Decision) Reason {
	rules := &d.Resource.Rules
	if len(q.Origin) == 0 {
		return Allowed
	}
	if len(rules.AllowedOrigins) == 0 && q.Dialect != Served { // the MCP server looks at it
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

// allowedOrigin returns the configuration's word for the origin of a request,
// "" if it has none that is allowed.
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

// preflight recognizes what a browser asks before the request it means, and
// never with a token (Fetch, section 4.8). It passes only where the operator
// allows pages: it trusts the gateway to say the client's method.
func preflight(q *Request, d *Decision) bool {
	return q.Method == http.MethodOptions && len(q.Authorization) == 0 && len(q.keyLines(d.Resource)) == 0 && len(q.PreflightMethod) == 1 &&
		allowedOrigin(&d.Resource.Rules, q.Origin) != ""
}

// Header values of answers to pages. Allow-Headers cannot be "*" where a token
// is sent (Fetch, section 3.3.5).
const (
	exposedHeaders = "WWW-Authenticate, Mcp-Session-Id"
	allowedMethods = "GET, POST, DELETE"
	allowedHeaders = "Authorization, Content-Type, Accept, Last-Event-ID, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id"
)

// corsHeaders lets an allowed page read the answer.
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
