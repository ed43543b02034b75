package policy

import (
	"cmp"
	"net"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// A condition of a rule that allows holds only if it is known to. One of a rule
// that denies holds unless it is known not to: a person must not get past it by
// having less to show, or by another spelling.

// clientMatches reports whether the rule's conditions about clients hold.
func clientMatches(rule *rule.Rule, c Client) bool {
	named := func(id string) bool {
		key := oauth.ClientKey(id)
		return key == c.Key || !rule.Allow && key == c.alias
	}
	if len(rule.Clients) > 0 && !slices.ContainsFunc(rule.Clients, named) {
		return false
	}
	if len(rule.ClientHosts) > 0 && (rule.Allow && c.HostUnproven || !inAnyDomain(rule.ClientHosts, hostname(c.Host))) {
		return false
	}
	return len(rule.ClientKinds) == 0 || slices.Contains(rule.ClientKinds, c.Kind) || !rule.Allow && c.Kind == ""
}

// aboutPeople reports whether the rule has conditions about people.
func aboutPeople(rule *rule.Rule) bool {
	return len(rule.Users)+len(rule.Emails)+len(rule.EmailDomains)+len(rule.Groups)+len(rule.Providers)+len(rule.Actors)+len(rule.Roles) > 0
}

// person is whom rules are held to.
type person struct {
	connector.Identity
	// groupsUnsaid: the groups may have been left out.
	groupsUnsaid bool
	// voucher is what rules call the one who vouches for the person, "" if none is
	// known, and sameAs a provider with the same people, see Outsider.
	voucher, sameAs string
	// actors act for the person, the one who acts now first; roles are a workload's.
	actors, roles []string
}

// personMatches reports whether the rule's conditions about people hold.
func (r *Rules) personMatches(rule *rule.Rule, id person) bool {
	deny := !rule.Allow
	for _, condition := range []struct {
		given bool
		holds func() bool
	}{
		{len(rule.Users) > 0, func() bool {
			return slices.ContainsFunc(rule.Users, func(u string) bool { return r.providers.names(u, id) })
		}},
		{len(rule.Emails) > 0, func() bool { return emailAmong(rule.Emails, id.Email, deny) }},
		{len(rule.EmailDomains) > 0, func() bool { return inDomains(rule.EmailDomains, id.Email, deny) }},
		{len(rule.Groups) > 0, func() bool {
			return groupAmong(rule.Groups, id.Groups, deny) || deny && (id.groupsUnsaid || id.Unknown.Groups)
		}},
		{len(rule.Providers) > 0, func() bool {
			return slices.Contains(rule.Providers, id.voucher) || deny && (id.voucher == "" || slices.Contains(rule.Providers, id.sameAs))
		}},
		{len(rule.Actors) > 0, func() bool { return actorAmong(rule.Actors, id.actors, deny) }},
		{len(rule.Roles) > 0, func() bool { return groupAmong(rule.Roles, id.roles, deny) }},
	} {
		if condition.given && !condition.holds() {
			return false
		}
	}
	return true
}

// emailAmong reports whether email is one of emails. An address that the provider does not vouch for is not in the identity.
func emailAmong(emails []string, email string, deny bool) bool {
	if domainOf(email) == "" {
		return deny
	}
	return slices.ContainsFunc(emails, func(e string) bool {
		return rule.LowerASCII(e) == rule.LowerASCII(email) || deny && strings.EqualFold(e, email)
	})
}

func inDomains(domains []string, email string, deny bool) bool {
	domain := domainOf(email)
	if domain == "" {
		return deny
	}
	return inAnyDomain(domains, domain) || deny && inAnyDomain(domains, strings.TrimSuffix(strings.ToLower(domain), "."))
}

// groupAmong reports whether one of groups matches a pattern. An identity with the
// most groups that it can carry may have more.
func groupAmong(patterns, groups []string, deny bool) bool {
	if deny && len(groups) >= connector.MaxGroups {
		return true
	}
	return slices.ContainsFunc(groups, func(g string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			return rule.Match(p, g) || deny && (rule.Match(strings.ToLower(p), strings.ToLower(g)) || strings.EqualFold(p, g))
		})
	})
}

// actorAmong reports whether one who acts matches a pattern. What may be allowed
// depends on the one who acts now (RFC 8693, section 4.1); what is denied to an agent
// is denied to those that it calls.
func actorAmong(patterns, actors []string, deny bool) bool {
	if !deny && len(actors) > 1 {
		actors = actors[:1]
	}
	return slices.ContainsFunc(actors, func(a string) bool { return matchesAny(patterns, a) })
}

func inAnyDomain(domains []string, domain string) bool {
	return slices.ContainsFunc(domains, func(d string) bool { return rule.InDomain(d, domain) })
}

// hostname returns host in lower case and without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(host), ".") // DNS takes both for the same name
}

// providers says which provider an identity comes from.
type providers struct {
	only string // the id, where there is one provider
}

func newProviders(ids []string) providers {
	if len(ids) != 1 {
		return providers{}
	}
	return providers{only: ids[0]}
}

// of returns the id of the provider that vouches for id, "" if none is known.
func (p providers) of(id connector.Identity) string {
	if p.only != "" {
		return p.only
	}
	return id.Provider
}

// names reports whether a rule's user is this person: the whole subject as in
// tokens, or the provider's id and its subject, or with one provider that
// subject alone. What reads as a whole subject is never read in another way, so
// that a subject with a colon in it cannot be another person's.
func (p providers) names(user string, id person) bool {
	if subject, ok := strings.CutPrefix(user, id.Namespace+":"); ok {
		return subject == id.Subject
	}
	for _, provider := range []string{id.voucher, id.sameAs} {
		if subject, ok := strings.CutPrefix(user, provider+":"); ok && provider != "" {
			return subject == id.Subject
		}
	}
	return p.only != "" && p.only == cmp.Or(id.sameAs, id.voucher) && user == id.Subject
}
