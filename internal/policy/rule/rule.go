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
	KindBrowser  = "browser"  // a person's browser, at the pages of an MCP host
	KindWorkload = "workload" // a workload that a trusted issuer vouches for
)

// KeyNamespace begins the subjects and client ids of API keys, with a colon behind
// it. No identity provider may have it for an id.
const KeyNamespace = "apikey"

// ClientNamespace begins the subjects of clients that act for themselves with
// tokens of this service, with a colon behind it. No identity provider may have it
// for an id.
const ClientNamespace = "client"

// OwnNamespaces are those that no identity provider and no issuer may have.
var OwnNamespaces = []string{KeyNamespace, ClientNamespace}

// Rule says what people and clients may do, or may not. All conditions
// that are not empty must hold; one holds if any of its entries does. Lists of
// patterns are for Match.
type Rule struct {
	// Name of the rule for the audit log and check-config.
	Name string `json:"name" check:"text"`
	// "allow" or "deny". Required.
	Effect string `json:"effect" enum:"allow deny"`
	// The rule applies to everyone and every client. It excludes every condition about people and clients, and is required if there is none. Default false.
	Anyone bool `json:"anyone"`
	// People by subject, as in tokens and the audit log ("google:1234"), or with one provider alone as that provider has it ("1234"). Those of another authorization server begin with its issuer without the scheme ("sso.example.com/realms/corp:1234"), and its clients that act for themselves with "client@" before that.
	Users []string `json:"users" max:"200" check:"unique"`
	// Verified e-mail addresses, in any case. A rule that denies also applies to people without one.
	Emails []string `json:"emails" max:"200" check:"unique"`
	// Domains of verified e-mail addresses: a name such as "example.com", or "*.example.com" for every name below it. A rule that denies also applies to people without an address.
	EmailDomains []string `json:"emailDomains" max:"200" check:"unique"`
	// Groups, exactly as in the identity headers; an asterisk at the end stands for anything. A rule that denies ignores case, and also applies to people with 200 groups, who may be in more; see provider.groupsFilter.
	Groups []string `json:"groups" max:"200" check:"unique"`
	// Agents that act for the user, by "ISSUER:SUBJECT" without the scheme, as in the audit log; an asterisk at the end stands for anything, and "*" alone for every agent. A rule that allows looks at the agent that acts now, a rule that denies at every agent in the chain. No rule with actors applies to a user who acts alone.
	Actors []string `json:"actors" max:"200" check:"unique"`
	// Roles of a workload, exactly as its platform names them (trustedIssuers); an asterisk at the end stands for anything.
	Roles []string `json:"roles" max:"200" check:"unique"`
	// Identity providers by id; a single `provider` has its name as id. Other authorization servers and trustedIssuers by their issuer URL.
	Providers []string `json:"providers" max:"200" check:"unique"`
	// Clients by id: those of `clients`, URLs of metadata documents, for clients of another authorization server, its issuer without the scheme, a colon and the id there ("sso.example.com:cli"), "apikey:NAME" for an API key, "browser" for pages, or the subject of a workload. Clients that register themselves get a new id each time; see clientKinds.
	Clients []string `json:"clients" max:"200" check:"unique"`
	// Hosts of metadata documents: a name such as "claude.ai", or "*.example.com" for every name below it.
	ClientHosts []string `json:"clientHosts" max:"200" check:"unique"`
	// Kinds of clients: "static" (those of `clients`), "document" (known by a metadata document), "dynamic" (those that registered themselves), "external" (clients of another authorization server), "key" (API keys), "browser" (people's browsers, at pages), "workload" (workloads of trustedIssuers).
	ClientKinds []string `json:"clientKinds" max:"200" check:"unique"`
	// Scopes that the rule allows or denies; an asterisk at the end stands for anything. Default: everything.
	Scopes []string `json:"scopes" max:"200" check:"unique"`
	// Tools that the rule allows or denies, instead of scopes; an asterisk at the end stands for anything. A rule that allows also allows the scopes that open such a tool, but only for these tools. Default: everything.
	Tools []string `json:"tools" max:"200" check:"unique"`

	// At is where the rule stands, "policy.rules[0]".
	At string
	// Allow is false for a rule that denies.
	Allow bool
}

// String names the rule for people: "policy.rules[0] (members)".
func (p *Rule) String() string {
	if p.Name == "" {
		return p.At
	}
	return p.At + " (" + p.Name + ")"
}
