// Package policy says which people may use the service at all. The zero Gate
// admits nobody.
package policy

import (
	"errors"
	"regexp"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// Reasons for refusal; audit slugs.
var (
	ErrNoEmail     = errors.New("no_verified_email")
	ErrEmailDomain = errors.New("email_domain_not_allowed")
	ErrClosed      = errors.New("nobody_is_admitted")
)

// Gate admits identities.
type Gate struct {
	domains []*regexp.Regexp
	anyone  bool
}

// NewGate makes the gate that the provider's configuration describes. Without
// a domain list everybody the provider knows is admitted: for Google and GitHub
// the configuration has made sure that the operator said so.
func NewGate(p config.Provider) Gate {
	return Gate{domains: p.EmailDomains, anyone: len(p.EmailDomains) == 0}
}

// Admit returns nil if id may sign in, else one of the reasons.
func (g Gate) Admit(id connector.Identity) error {
	switch {
	case g.anyone:
		return nil
	case len(g.domains) == 0:
		return ErrClosed
	case id.Email == "": // connectors leave out what is not verified
		return ErrNoEmail
	}
	at := strings.LastIndexByte(id.Email, '@')
	domain := strings.ToLower(id.Email[at+1:])
	if at <= 0 || domain == "" {
		return ErrNoEmail
	}
	for _, re := range g.domains {
		if re.MatchString(domain) {
			return nil
		}
	}
	return ErrEmailDomain
}
