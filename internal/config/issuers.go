package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
)

// authorizationServers resolves the other authorization servers of each MCP
// server, and what the names of their people are.
func (r *resolver) authorizationServers(files []HostFile, c *Config) {
	c.AuthorizationServers, c.Introspected = make([][]issuer.Config, len(c.Hosts)), make([]Introspected, len(c.Hosts))
	own := map[string]bool{}
	for _, h := range c.Hosts {
		own[h.Scheme+"://"+h.Host] = true
	}
	for i := range c.Hosts {
		h, at := &c.Hosts[i], conf.Element("proxy.hosts", i)
		list := r.issuers(at+".authorizationServers", files[i].AuthorizationServers, &c.Introspected[i])
		for j := range list {
			entry, at := &list[j], conf.Element(at+".authorizationServers", j)
			if own[strings.TrimSuffix(entry.Issuer, "/")] {
				r.Add(at+".issuer", "is this service itself, whose tokens are taken by ownTokens")
			}
			entry.SameAs, entry.Namespace = r.namespace(at, entry.Issuer, entry.Claims.Subject, c.Providers)
			h.Issuers = append(h.Issuers, entry.Issuer)
			if names := entry.ScopeNames(); names != nil {
				if h.ScopeNames == nil {
					h.ScopeNames = map[string]map[string]string{}
				}
				h.ScopeNames[entry.Issuer] = names
			}
		}
		c.AuthorizationServers[i] = list
		if h.OwnTokensOff && len(list) == 0 && !h.APIKeys && !r.IsMalformed(at+".authorizationServers") {
			r.Add(at+".ownTokens", "is off, and the MCP server takes no other tokens, so that no request could pass; name authorizationServers, or turn apiKeys on")
		}
	}
}

// issuers resolves the entries of one MCP server, and the one that is introspected.
func (r *resolver) issuers(at string, files []AuthorizationServerFile, asked *Introspected) []issuer.Config {
	var entries []issuer.File
	for _, f := range files {
		entries = append(entries, f.File)
	}
	list := issuer.ResolveAll(r.Check, at, entries)
	for i, f := range files {
		section := conf.Section{Check: r.Check, At: conf.Element(at, i)}.Sub("introspection")
		how := f.Introspection.Resolve(section)
		switch {
		case how == nil:
		case asked.Config != nil:
			r.Add(section.At, "is set for another entry of this MCP server too; an opaque token does not say whose it is, and may be shown to its own server only")
		default:
			*asked = Introspected{f.Issuer, f.Authorities, how}
			list[i].NoKeys, list[i].SignedAnswers = how.All, how.Signed
		}
	}
	return list
}

// namespace says who the people of an issuer are. Those of an issuer that is an
// identity provider here are the same people.
func (r *resolver) namespace(at, address, subject string, providers []connector.Config) (sameAs, namespace string) {
	namespace = issuer.Namespace(address)
	for _, p := range providers {
		own, ok := p.Settings.(connector.Issuer)
		if !ok {
			continue
		}
		url, subjectClaim := own.Issuer()
		if url != address {
			continue
		}
		if subjectClaim != subject {
			r.Warn(at+".claims.subject", "is %s, and the identity provider with this issuer has subjectClaim %s: its people have the same subjects here and there, so both claims must hold the same values", conf.Show(subject), conf.Show(subjectClaim))
		}
		return p.PolicyID(), provider.Prefix(p) + namespace
	}
	first := namespace
	if i := strings.IndexAny(first, ":/"); i >= 0 {
		first = first[:i]
	}
	if slices.Contains(append(kinds.Names(), rule.OwnNamespaces...), first) {
		r.Add(at+".issuer", "%s has the host %s, and the subjects of other people here begin so; use a full host name", conf.ShowURL(address), conf.Show(first))
	}
	return "", namespace
}

// reserve finds, for each issuer, the namespaces that one of its subjects could be
// spelled to look like.
func (r *resolver) reserve(c *Config) {
	all := map[string]bool{}
	for _, p := range c.Providers {
		if p.Settings != nil {
			all[provider.Prefix(p)+p.Settings.Namespace()] = true
		}
	}
	c.eachIssuer(func(entry *issuer.Config) { all[entry.Namespace] = true })
	for i := range c.TrustedIssuers {
		all[c.TrustedIssuers[i].Namespace] = true
	}
	names := slices.Sorted(maps.Keys(all))
	for i := range c.TrustedIssuers {
		entry := &c.TrustedIssuers[i]
		for _, other := range names {
			if strings.HasPrefix(other, entry.Namespace+":") {
				entry.Reserved = append(entry.Reserved, other)
			}
		}
	}
	c.eachIssuer(func(entry *issuer.Config) {
		for _, other := range names {
			if strings.HasPrefix(other, entry.Namespace+":") {
				entry.Reserved = append(entry.Reserved, other)
			}
		}
	})
}

func (c *Config) eachIssuer(do func(*issuer.Config)) {
	for i := range c.AuthorizationServers {
		for j := range c.AuthorizationServers[i] {
			do(&c.AuthorizationServers[i][j])
		}
	}
}

// issuers returns what rules can name of the other authorization servers: their
// URLs, and how subjects and clients of theirs begin.
func (c *Config) issuers() (urls, namespaces []string) {
	c.eachIssuer(func(entry *issuer.Config) {
		if !slices.Contains(urls, entry.Issuer) {
			urls, namespaces = append(urls, entry.Issuer), append(namespaces, entry.Namespace)
		}
	})
	for _, entry := range c.TrustedIssuers {
		if !slices.Contains(urls, entry.Issuer) {
			urls, namespaces = append(urls, entry.Issuer), append(namespaces, entry.Namespace)
		}
	}
	return urls, namespaces
}
