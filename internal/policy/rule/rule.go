// Package rule holds the rules that an operator writes: who may do what (Rule),
// and what a request to an MCP server needs (Rules, Scope). It is pure: what the
// rules mean for a person and a request is for package policy and forwardauth.
package rule

// Kinds of clients.
const (
	KindStatic   = "static"   // the operator wrote it down
	KindDocument = "document" // known by a metadata document
	KindDynamic  = "dynamic"  // registered itself
	KindExternal = "external" // a client of another authorization server
	KindKey      = "key"      // holds an API key
)

// Rule says what people and clients may do, or may not. All conditions
// that are not empty must hold; one holds if any of its entries does. Lists of
// patterns are for Match.
type Rule struct {
	// At is where the rule stands, "policy.rules[0]".
	At   string
	Name string
	// Allow is false for a rule that denies.
	Allow bool

	Users        []string // subjects with their namespace, or of the one provider
	Emails       []string
	EmailDomains []string // names, or "*.example.com"
	Groups       []string // patterns
	Providers    []string // ids
	Clients      []string // client ids
	ClientHosts  []string // names, or "*.example.com"
	ClientKinds  []string

	// Scopes and Tools are patterns. At most one of the two is there; without
	// either the rule is about everything.
	Scopes, Tools []string
}

// String names the rule for people: "policy.rules[0] (members)".
func (p *Rule) String() string {
	if p.Name == "" {
		return p.At
	}
	return p.At + " (" + p.Name + ")"
}
