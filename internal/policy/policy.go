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
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// Refused says why an account is not admitted.
type Refused struct{ Reason reasons.Reason }

func (r Refused) Error() string { return string(r.Reason) }

// ReasonOf returns the reason of an error of Admit.
func ReasonOf(err error) reasons.Reason {
	if r, ok := errors.AsType[Refused](err); ok {
		return r.Reason
	}
	return reasons.AccessDenied
}

// Why an account is not admitted.
var (
	ErrNoEmail     = Refused{reasons.NoVerifiedEmail}
	ErrEmailDomain = Refused{reasons.EmailDomainNotAllowed}
	ErrClosed      = Refused{reasons.NobodyIsAdmitted}
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

// Admit returns nil if id may sign in, else a Refused.
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
