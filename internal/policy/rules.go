package policy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Opens returns the tools that a scope of a resource opens, as patterns for
// rule.Match; known is false until the server's
// catalogue has been read.
type Opens func(resource, scope string) (tools []string, known bool)

// Policy holds the rules of every resource.
type Policy struct {
	resources map[string]*Rules
}

// New makes the policy of these resources. providers are the ids that rules
// call the identity providers by. opens tells what rules about tools mean for
// scopes.
func New(resources []*resource.Resource, providers []string, opens Opens) *Policy {
	p := &Policy{resources: make(map[string]*Rules, len(resources))}
	for _, r := range resources {
		p.resources[r.URI] = &Rules{
			open: r.Policy == nil, list: r.Policy, scopes: &r.Rules, providers: newProviders(providers), print: fingerprint(r.Policy),
			opens: func(scope string) ([]string, bool) { return opens(r.URI, scope) },
		}
	}
	return p
}

// For returns the rules of a resource; of one that is not there, rules that
// allow nothing.
func (p *Policy) For(resource string) *Rules {
	if p == nil || p.resources[resource] == nil {
		return &Rules{}
	}
	return p.resources[resource]
}

// Rules are those of one resource.
type Rules struct {
	// open: there are no rules, so everybody may have everything.
	open      bool
	list      []rule.Rule
	scopes    *rule.Rules
	providers providers
	opens     func(scope string) (tools []string, known bool)
	print     string // fingerprint of whom the rules are about
}

// Client is what rules know a client by.
type Client struct {
	Key  string // oauth.ClientKey of its id
	Kind string // one of those of package rule
	Host string // of its metadata document, with the port if it has one
	// HostUnproven: the document was not read by this service, so that Host is no
	// reason to allow anything.
	HostUnproven bool

	alias string // the key of another name, by which rules deny it too
}

// Match says which of a resource's rules hold for one person and client.
type Match struct {
	rules *Rules
	holds []bool // by place in the list
}

// Match holds the rules to a person who has signed in through a client.
func (r *Rules) Match(id connector.Identity, c Client) Match { return r.Rematch(id, false, c) }

// Rematch is Match for a person whom the provider was asked about again. Some
// providers say less then than at a sign-in: a person who was in groups and is in
// none now may still be in those that a rule denies.
func (r *Rules) Rematch(id connector.Identity, wasInGroups bool, c Client) Match {
	return r.match(person{Identity: id, groupsUnsaid: wasInGroups && len(id.Groups) == 0, voucher: r.providers.of(id)}, c)
}

func (r *Rules) match(id person, c Client) Match {
	m := Match{r, make([]bool, len(r.list))}
	for i := range r.list {
		rule := &r.list[i]
		m.holds[i] = clientMatches(rule, c) && r.personMatches(rule, id)
	}
	return m
}

// MatchClient holds the rules to a client before the user has signed in: what
// some user may be allowed counts as allowed, and only what is denied to every
// user as denied.
func (r *Rules) MatchClient(c Client) Match {
	m := Match{r, make([]bool, len(r.list))}
	for i := range r.list {
		rule := &r.list[i]
		m.holds[i] = clientMatches(rule, c) && (rule.Allow || !aboutPeople(rule))
	}
	return m
}

// String is m in few bytes, to travel in what this service seals; "" where
// there are no rules.
func (m Match) String() string {
	if m.rules == nil || m.rules.open {
		return ""
	}
	bits := make([]byte, (len(m.holds)+7)/8)
	for i, holds := range m.holds {
		if holds {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return m.rules.print + base64.RawURLEncoding.EncodeToString(bits)
}

// Parse returns what String wrote of a match with these rules; ok is false if
// there were others then, so that what holds is not known.
func (r *Rules) Parse(s string) (m Match, ok bool) {
	if r.open {
		return Match{rules: r}, true
	}
	text, found := strings.CutPrefix(s, r.print)
	bits, err := base64.RawURLEncoding.DecodeString(text)
	if r.print == "" || !found || err != nil || len(bits) != (len(r.list)+7)/8 {
		return Match{}, false
	}
	m = Match{r, make([]bool, len(r.list))}
	for i := range m.holds {
		m.holds[i] = bits[i/8]&(1<<(i%8)) != 0
	}
	if m.String() != s { // one match has one spelling
		return Match{}, false
	}
	return m, true
}

// fingerprint is a hash of the conditions about people and clients. The scopes and
// tools of a rule may change without a new match.
func fingerprint(rules []rule.Rule) string {
	h := sha256.New()
	part := func(s string) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	for i := range rules {
		r := &rules[i]
		part(map[bool]string{true: "allow", false: "deny"}[r.Allow])
		for _, condition := range rule.Conditions {
			if condition.What {
				continue
			}
			list := condition.Of(r)
			h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(list))))
			for _, entry := range list {
				part(entry)
			}
		}
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))[:10]
}

// Verdict is what the rules say of one scope.
type Verdict struct {
	Scope   string
	Allowed bool
	// Rule decided, "policy.rules[0] (members)"; "" where none speaks of it.
	Rule string
	// Tools and NotTools are patterns: all of the scope's tools that may be
	// used, nil for every one, and those that may not.
	Tools, NotTools []string
}

// Verdict decides about one scope. A denial wins; what no rule allows is denied.
func (m Match) Verdict(scope string) Verdict {
	v := Verdict{Scope: scope}
	switch {
	case m.rules == nil || m.rules.scopes == nil:
		return v
	case m.rules.open:
		v.Allowed = true
		return v
	}
	// A scope gives what it includes, so what denies that denies it too.
	includes := m.rules.scopes.WithIncluded([]string{scope})
	tools, known := m.tools(includes)
	for rule := range m.held(false) {
		if len(rule.Scopes)+len(rule.Tools) == 0 || matchesAny(rule.Scopes, includes...) {
			v.Rule = rule.String()
			return v
		}
		for _, t := range rule.Tools {
			if !known || opensOneOf(tools, []string{t}, nil) {
				v.NotTools = append(v.NotTools, t)
			}
		}
	}
	if rule := m.allToolsDenied(scope, includes, tools, known); rule != "" {
		v.Rule, v.NotTools = rule, nil
		return v
	}
	including := m.rules.including(scope)
	for rule := range m.held(true) {
		switch {
		case len(rule.Scopes)+len(rule.Tools) == 0, matchesAny(rule.Scopes, including...):
			v.Allowed, v.Rule, v.Tools = true, rule.String(), nil
			return v
		case len(rule.Tools) > 0 && (!known || opensOneOf(tools, rule.Tools, v.NotTools)):
			if !v.Allowed {
				v.Allowed, v.Rule = true, rule.String()
			}
			v.Tools = append(v.Tools, rule.Tools...)
		}
	}
	return v
}

// Narrow returns those of scopes that the rules allow.
func (m Match) Narrow(scopes oauth.Scopes) oauth.Scopes {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !m.Verdict(s).Allowed })
}

// held yields the rules of one effect that hold.
func (m Match) held(allow bool) func(yield func(*rule.Rule) bool) {
	return func(yield func(*rule.Rule) bool) {
		for i := range m.rules.list {
			if rule := &m.rules.list[i]; m.holds[i] && rule.Allow == allow && !yield(rule) {
				return
			}
		}
	}
}

// tools returns what the scopes open, as patterns.
func (m Match) tools(scopes []string) (tools []string, known bool) {
	for _, s := range scopes {
		of, sure := m.rules.opens(s)
		if !sure {
			return nil, false
		}
		tools = append(tools, of...)
		for _, own := range m.rules.scopes.Scopes {
			if own.Name == s {
				tools = append(tools, own.Tools...)
			}
		}
	}
	return tools, true
}

// allToolsDenied returns the rule by which nothing would be left of the scope,
// "" if something would.
func (m Match) allToolsDenied(scope string, includes, tools []string, known bool) string {
	if !known || len(tools) == 0 || m.rules.opensMore(includes) {
		return ""
	}
	last := ""
	for _, tool := range tools {
		denied := ""
		for rule := range m.held(false) {
			if coversAny(rule.Tools, tool) {
				denied = rule.String()
				break
			}
		}
		if denied == "" {
			return ""
		}
		last = denied
	}
	return last
}

// opensMore reports whether one of the scopes opens resources or prompts, about
// which there are no rules.
func (r *Rules) opensMore(scopes []string) bool {
	return slices.ContainsFunc(r.scopes.Scopes, func(s rule.Scope) bool {
		return slices.Contains(scopes, s.Name) && len(s.Resources)+len(s.Prompts) > 0
	})
}

// including returns scope and those of the operator's scopes that include it.
func (r *Rules) including(scope string) []string {
	out := []string{scope}
	for _, s := range r.scopes.Scopes {
		if s.Name != scope && slices.Contains(r.scopes.WithIncluded([]string{s.Name}), scope) {
			out = append(out, s.Name)
		}
	}
	return out
}

// opensOneOf reports whether a tool is opened that is among wanted and not denied.
func opensOneOf(tools, wanted, denied []string) bool {
	return slices.ContainsFunc(tools, func(t string) bool {
		return slices.ContainsFunc(wanted, func(w string) bool {
			narrow, meet := overlap(t, w)
			return meet && !coversAny(denied, narrow)
		})
	})
}

// overlap returns the narrower of two patterns if they have a name in common.
func overlap(a, b string) (string, bool) {
	switch {
	case rule.Covers(a, b):
		return b, true
	case rule.Covers(b, a):
		return a, true
	}
	return "", false
}

func coversAny(wide []string, narrow string) bool {
	return slices.ContainsFunc(wide, func(w string) bool { return rule.Covers(w, narrow) })
}

// matchesAny reports whether one of patterns matches one of names.
func matchesAny(patterns []string, names ...string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return rule.Match(p, n) })
	})
}
