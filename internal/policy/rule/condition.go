package rule

import "strings"

// Condition is one of the lists of a Rule.
type Condition struct {
	Name string // the key in the configuration
	// Of returns its entries in a rule.
	Of func(*Rule) []string
	// Covers reports whether the entry wide holds wherever the entry narrow does.
	Covers func(wide, narrow string) bool
	// What: it is about what is asked for. The others are about people and clients.
	What bool
}

// Conditions lists the conditions in the order of the reference.
var Conditions = []Condition{
	{Name: "users", Of: func(r *Rule) []string { return r.Users }, Covers: Same},
	{Name: "emails", Of: func(r *Rule) []string { return r.Emails }, Covers: func(a, b string) bool { return LowerASCII(a) == LowerASCII(b) }},
	{Name: "emailDomains", Of: func(r *Rule) []string { return r.EmailDomains }, Covers: CoversDomain},
	{Name: "groups", Of: func(r *Rule) []string { return r.Groups }, Covers: Covers},
	{Name: "actors", Of: func(r *Rule) []string { return r.Actors }, Covers: Covers},
	{Name: "roles", Of: func(r *Rule) []string { return r.Roles }, Covers: Covers},
	{Name: "providers", Of: func(r *Rule) []string { return r.Providers }, Covers: Same},
	{Name: "clients", Of: func(r *Rule) []string { return r.Clients }, Covers: Same},
	{Name: "clientHosts", Of: func(r *Rule) []string { return r.ClientHosts }, Covers: CoversDomain},
	{Name: "clientKinds", Of: func(r *Rule) []string { return r.ClientKinds }, Covers: Same},
	{Name: "scopes", Of: func(r *Rule) []string { return r.Scopes }, Covers: Covers, What: true},
	{Name: "tools", Of: func(r *Rule) []string { return r.Tools }, Covers: Covers, What: true},
}

// Same reports whether two entries are equal.
func Same(a, b string) bool { return a == b }

// Covers reports whether wide matches every name that narrow matches. Both are
// patterns for Match.
func Covers(wide, narrow string) bool {
	if prefix, ok := strings.CutSuffix(wide, "*"); ok {
		return strings.HasPrefix(strings.TrimSuffix(narrow, "*"), prefix)
	}
	return wide == narrow
}

// CoversDomain reports whether wide matches every domain that narrow matches. Both
// are patterns for InDomain.
func CoversDomain(wide, narrow string) bool {
	if below, ok := strings.CutPrefix(narrow, "*"); ok && strings.HasPrefix(wide, "*") {
		return strings.HasSuffix(below, wide[1:])
	}
	return InDomain(wide, narrow)
}
