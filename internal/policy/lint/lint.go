// Package lint finds rules that can never hold or that another rule makes
// useless. It looks at rules and at the operator's clients, and at nothing else.
// Rules are expected to be well formed: package config checks them first.
package lint

import (
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
)

// Problem is what is wrong with one rule.
type Problem struct {
	At   string // where it stands: that of the rule, or a key of it
	Text string
}

// Clients are the clients that the operator wrote down. A rule that names another
// one means a client with a metadata document.
type Clients []registration.Known

// named returns the client with this id, nil if there is none.
func (c Clients) named(id string) *registration.Known {
	if i := slices.IndexFunc(c, func(k registration.Known) bool { return k.ID == id }); i >= 0 {
		return &c[i]
	}
	return nil
}

// Contradiction says why no person and client can meet all conditions of a rule,
// or "".
func (c Clients) Contradiction(r *rule.Rule) string {
	for _, pair := range []struct {
		narrow, wide string
		given        []string // by the operator, for narrow
		a, b         []string
		covers       func(wide, narrow string) bool
	}{
		{"emails", "emailDomains", r.Emails, domainsOf(r.Emails), r.EmailDomains, rule.CoversDomain},
		{"clients", "clientHosts", r.Clients, c.hostsOf(r.Clients), r.ClientHosts, rule.CoversDomain},
		{"clients", "clientKinds", r.Clients, c.kindsOf(r.Clients), r.ClientKinds, rule.Same},
		{"clientHosts", "clientKinds", r.ClientHosts, documents(r.ClientHosts), r.ClientKinds, rule.Same},
	} {
		if len(pair.given) > 0 && len(pair.b) > 0 && !slices.ContainsFunc(pair.a, func(n string) bool {
			return slices.ContainsFunc(pair.b, func(w string) bool { return pair.covers(w, n) })
		}) {
			return "none of its " + pair.narrow + " is among its " + pair.wide
		}
	}
	return c.beyond(r)
}

// beyond says that none of the rule's scopes is one that its clients may have, or "".
func (c Clients) beyond(r *rule.Rule) string {
	if !r.Allow || len(r.Clients) == 0 || len(r.Scopes) == 0 {
		return ""
	}
	for _, id := range r.Clients {
		client := c.named(id)
		if client == nil || len(client.Scopes) == 0 {
			return ""
		}
		for _, scope := range client.Scopes {
			if slices.ContainsFunc(r.Scopes, func(pattern string) bool { return rule.Match(pattern, scope) }) {
				return ""
			}
		}
	}
	return "none of its scopes is among the scopes of its clients; add it to the entry of clients"
}

// Unreachable finds rules of the MCP server at uri about clients that may not use it.
func (c Clients) Unreachable(rules []rule.Rule, uri string) []Problem {
	var found []Problem
	for i := range rules {
		r := &rules[i]
		if !r.Allow || len(r.Clients) == 0 {
			continue
		}
		if !slices.ContainsFunc(r.Clients, func(id string) bool {
			client := c.named(id)
			return client == nil || len(client.Resources) == 0 || slices.Contains(client.Resources, uri)
		}) {
			found = append(found, Problem{r.At + ".clients", "may not reach " + uri + " by the resources of their own entries; add it there, or remove the rule"})
		}
	}
	return found
}

// Shadowed finds the rules of a list that another rule of it makes useless. Rules
// have no order, so that other rule may stand before or after them.
func (c Clients) Shadowed(rules []rule.Rule) []Problem {
	return c.shadowed(rules, rules, true)
}

// ShadowedBy finds the rules that one of others, which hold as well, makes useless.
func (c Clients) ShadowedBy(rules, others []rule.Rule) []Problem {
	return c.shadowed(rules, others, false)
}

func (c Clients) shadowed(rules, others []rule.Rule, same bool) []Problem {
	var found []Problem
	told := map[string]bool{} // rules that are found already explain no further ones
	for i := range rules {
		r := &rules[i]
		problem := ""
		for j := range others {
			o := &others[j]
			if o.At == r.At || told[o.At] || !c.covers(o, r) {
				continue
			}
			why := useless(r, o, c.covers(r, o), same, same && j < i)
			if problem == "" || why != "" && !o.Allow { // a denial is the first thing to know
				problem = why
			}
		}
		if problem != "" {
			told[r.At] = true
			found = append(found, Problem{r.At, problem})
		}
	}
	return found
}

// useless says why r, all of which o covers, has no effect, or "" if it has one. Of
// two equal rules in one list the later one is reported.
func useless(r, o *rule.Rule, equal, same, later bool) string {
	switch {
	case r.Allow && !o.Allow:
		return "allows nothing, because " + o.String() + " denies all of it; narrow one of the two"
	case r.Allow != o.Allow:
		return "" // an exception of what is allowed
	case equal && later:
		return "says the same as " + o.String() + "; remove one of the two"
	case equal && same:
		return ""
	case r.Allow:
		return "adds nothing, because " + o.String() + " allows all of it already; remove it, or narrow the other"
	}
	return "adds nothing, because " + o.String() + " denies all of it already; remove it, or narrow the other"
}

// covers reports whether wide holds, and is about the same, wherever narrow does.
func (c Clients) covers(wide, narrow *rule.Rule) bool {
	for _, condition := range rule.Conditions {
		entries := condition.Of(wide)
		if len(entries) == 0 {
			continue
		}
		implied := func(by []string) bool { return within(entries, by, condition.Covers) }
		ok := implied(condition.Of(narrow))
		switch condition.Name { // what another condition says as well
		case "emailDomains":
			ok = ok || implied(domainsOf(narrow.Emails))
		case "clientHosts":
			hosts := c.hostsOf(narrow.Clients)
			ok = ok || len(hosts) == len(narrow.Clients) && implied(hosts)
		case "clientKinds":
			ok = ok || implied(documents(narrow.ClientHosts)) || implied(c.kindsOf(narrow.Clients))
		}
		if !ok {
			return false
		}
	}
	return true
}

// within reports whether there are narrow entries, and each is covered by a wide one.
func within(wide, narrow []string, covers func(wide, narrow string) bool) bool {
	return len(narrow) > 0 && !slices.ContainsFunc(narrow, func(n string) bool {
		return !slices.ContainsFunc(wide, func(w string) bool { return covers(w, n) })
	})
}

func domainsOf(emails []string) []string {
	var out []string
	for _, e := range emails {
		out = append(out, rule.LowerASCII(e[strings.LastIndexByte(e, '@')+1:]))
	}
	return out
}

// hostsOf returns the hosts of those clients that have metadata documents.
func (c Clients) hostsOf(ids []string) []string {
	var out []string
	for _, id := range ids {
		if u, err := url.Parse(id); err == nil && c.named(id) == nil {
			out = append(out, strings.ToLower(u.Hostname()))
		}
	}
	return out
}

func (c Clients) kindsOf(ids []string) []string {
	var out []string
	for _, id := range ids {
		switch {
		case c.named(id) != nil:
			out = append(out, rule.KindStatic)
		case id == rule.KindBrowser:
			out = append(out, rule.KindBrowser)
		case strings.HasPrefix(id, rule.KeyNamespace+":"):
			out = append(out, rule.KindKey)
		case strings.HasPrefix(id, "https://"), strings.HasPrefix(id, "http://"):
			out = append(out, rule.KindDocument)
		default:
			out = append(out, rule.KindExternal)
		}
	}
	return out
}

// documents returns the kind of the clients at these hosts.
func documents(hosts []string) []string {
	if len(hosts) == 0 {
		return nil
	}
	return []string{rule.KindDocument}
}
