// Package policy says who may do what: which people may use the service at all
// (Gate), and which of an MCP server's scopes and tools a person may have
// through which client (Policy, Rules). It decides from what it is given,
// without I/O. The zero Gate admits no one, and the zero Policy, Rules, Match
// and Bound allow nothing: everything open is made from a configuration that
// says so.
package policy

import (
	"errors"
	"regexp"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// Reasons for refusal; audit slugs.
var (
	ErrNoEmail     = errors.New("no_verified_email")
	ErrEmailDomain = errors.New("email_domain_not_allowed")
	ErrClosed      = errors.New("nobody_is_admitted")
)

// Audit slugs of what the rules decide.
const (
	// NotAllowed: the rules give this person nothing through this client.
	NotAllowed = "not_allowed_by_policy"
	// ClientNotAllowed: no rule allows any user anything through this client.
	ClientNotAllowed = "client_not_allowed_by_policy"
	// Narrowed: they give less than was agreed to.
	Narrowed = "narrowed_by_policy"
)

// Gate admits identities.
type Gate struct {
	domains []*regexp.Regexp
	anyone  bool
}

// NewGate makes the gate that the provider's configuration describes. Without
// a domain list everybody the provider knows is admitted: for Google and GitHub
// the configuration has made sure that the operator said so.
func NewGate(p connector.Config) Gate {
	return Gate{domains: p.EmailDomains, anyone: len(p.EmailDomains) == 0}
}

// Admit returns nil if id may sign in, else one of the reasons.
func (g Gate) Admit(id connector.Identity) error {
	switch {
	case g.anyone:
		return nil
	case len(g.domains) == 0:
		return ErrClosed
	}
	domain := domainOf(id.Email)
	if domain == "" { // connectors leave out what is not verified
		return ErrNoEmail
	}
	for _, re := range g.domains {
		if re.MatchString(domain) {
			return nil
		}
	}
	return ErrEmailDomain
}

// domainOf returns the domain of an address with its ASCII letters in lower case,
// or "".
func domainOf(email string) string {
	at := strings.LastIndexByte(email, '@')
	if at <= 0 {
		return ""
	}
	return rule.LowerASCII(email[at+1:])
}
