package catalog

import (
	"slices"
	"strings"
)

// Results lists all of them.
var Results = []string{
	ResultOK, ResultUndeclared, ResultTimeout, ResultUnreachable, ResultNoSuchHost, ResultCertificate,
	ResultUnauthorized, ResultRedirect, ResultTooLarge, ResultInvalid,
}

// Tool returns the tool of that name.
func (c *Catalogue) Tool(name string) (Tool, bool) {
	i := slices.IndexFunc(c.Tools, func(t Tool) bool { return t.Name == name })
	if i < 0 {
		return Tool{}, false
	}
	return c.Tools[i], true
}

// Hash is that of all scopes.
func (c *Catalogue) Hash() string {
	names := slices.Sorted(slices.Values(c.ScopeNames()))
	var hashes []string
	for _, name := range slices.Compact(names) {
		hashes = append(hashes, c.hashScope(name))
	}
	return strings.Join(hashes, " ")
}
