package rule

import "slices"

// Rules say what is asked of a request beyond a valid token.
type Rules struct {
	ToolPolicy ToolPolicy
	Scopes     []Scope
	// Body: the body decides. Only for gateways that forward it.
	Body bool
	// EnvoyMCP: what Envoy's MCP filter read out of the body decides.
	EnvoyMCP bool
	// ExtMCP: agentgateway asks about each message, and the message decides.
	ExtMCP bool
	// StepUpStatus is 401, 403, or 0 for what suits the gateway.
	StepUpStatus int
	// RefuseRefresh: a refresh right after a client was asked for more scopes is
	// refused, so that it signs in again.
	RefuseRefresh bool
	// HideGrantable: lists do not show what a token does not open, also where
	// another could.
	HideGrantable bool
	// HoldChanged: a tool that is new, or not as it was when the person agreed, is
	// closed until they agree again.
	HoldChanged bool
	// AllowedOrigins are serialized origins, or "*"; empty means that Origin is
	// not looked at and no preflight passes.
	AllowedOrigins []string
}

// Evidence is what a decision about a request rests on, beside the token.
type Evidence uint8

// Evidence, from the least to the most. What is not told is decided by the token alone.
const (
	Token   Evidence = iota // nothing says what the request does
	Headers                 // Mcp-Method and Mcp-Name
	Message                 // a gateway asks about each message that it has read
	Reading                 // what Envoy's MCP filter read out of the body
	Body                    // the body, read by this service
)

// Evidence returns what a decision about a request rests on. provable says that its
// revision of MCP tells in headers what a request does, as 2026-07-28 does.
func (r *Rules) Evidence(provable bool) Evidence {
	switch {
	case r.EnvoyMCP:
		return Reading
	case r.Body:
		return Body
	case r.ExtMCP:
		return Message
	case provable:
		return Headers
	}
	return Token
}

// SeeBody reports whether the body decides what a request is, read by this service or
// by a gateway. Then the rules hold for clients of every revision of MCP.
func (r *Rules) SeeBody() bool { return r.Evidence(false) != Token }

// ToolPolicy says what a request may do that no scope opens or that cannot be decided.
type ToolPolicy string

// Tool policies. The zero value enforces.
const (
	Enforce  ToolPolicy = "enforce"
	Strict   ToolPolicy = "strict"
	Advisory ToolPolicy = "advisory"
)

// Scope is one entry of `proxy.hosts[].scopes`: a scope of the operator and what it opens. Tools, Resources and
// Prompts are patterns for Match.
type Scope struct {
	// The scope, as in a token. Required.
	Name string `json:"name"`
	// What the scope means to a person, for the consent page.
	Description string `json:"description" check:"text"`
	// Names of tools that the scope opens; an asterisk at the end stands for anything.
	Tools []string `json:"tools" check:"patterns"`
	// URIs of resources that the scope opens; an asterisk at the end stands for anything. Once any entry names resources, those that none names are closed.
	Resources []string `json:"resources" check:"patterns"`
	// Names of prompts that the scope opens; an asterisk at the end stands for anything. Once any entry names prompts, those that none names are closed.
	Prompts []string `json:"prompts" check:"patterns"`
	// Other scopes that this one includes, of these entries or of the MCP server.
	Includes []string `json:"includes" check:"scopes"`
}

// WithIncluded returns scopes, those that one of them includes, and those that these include.
func (r *Rules) WithIncluded(scopes []string) []string {
	out := slices.Clip(scopes)
	for i := 0; i < len(out); i++ { // out grows
		for _, rule := range r.Scopes {
			if rule.Name != out[i] {
				continue
			}
			for _, s := range rule.Includes {
				if !slices.Contains(out, s) {
					out = append(out, s)
				}
			}
		}
	}
	return out
}
