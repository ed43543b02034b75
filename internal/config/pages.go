package config

import (
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// pages resolves the pages of one entry.
func (r *resolver) pages(at string, files []session.PageFile) (pages []resource.Page) {
	for i, f := range files {
		at := conf.Element(at, i)
		p := resource.Page{Scope: f.Scope, Tokens: f.Tokens}
		if f.Path == "" {
			r.Add(at+".path", `is required: the public path of the page, such as "/ui"`)
		} else {
			p.Path = r.publicPath(at+".path", f.Path, nil)
		}
		if f.Scope != "" {
			r.ScopeTokens(at+".scope", []string{f.Scope})
		}
		pages = append(pages, p)
	}
	return pages
}

// pagePlaces holds the pages of all entries to places of their own, and to entries
// that people can sign in for.
func (r *resolver) pagePlaces(hosts []resource.Entry, server func(host, path string) (int, bool)) {
	first := map[[2]string]string{}
	for i, h := range hosts {
		entry := conf.Element("proxy.hosts", i)
		if len(h.Pages) > 0 && h.OwnTokensOff {
			r.Add(entry+".pages", "needs ownTokens, because people sign in at this service")
		}
		if h.Account && h.OwnTokensOff {
			r.Add(entry+".account", "needs ownTokens, because people sign in at this service")
		}
		for j, p := range h.Pages {
			at := conf.Element(entry+".pages", j) + ".path"
			if r.Wrong(at) {
				continue
			}
			place := [2]string{h.Host, p.Path}
			if other, taken := server(h.Host, p.Path); taken {
				r.Add(at, "is the path of the MCP server of proxy.hosts[%d], where no session is taken; choose another", other)
			} else if other, taken := first[place]; taken {
				r.Add(at, "is %s already", other)
			}
			first[place] = conf.Element(entry+".pages", j)
			if h.Path == "" && h.Endpoint != nil && strings.HasPrefix(strings.TrimSuffix(h.Endpoint.Path, "/")+"/", p.Path+"/") && p.Path != "" {
				r.Add(at, "covers %q, where the MCP server itself is, and no session is taken there; choose another", h.Endpoint.Path)
			}
		}
	}
}

// personalKeys holds keys that people make to what lets people end them again.
func (r *resolver) personalKeys(c *Config) {
	account := map[string]bool{}
	for _, h := range c.Hosts {
		account[h.Host] = account[h.Host] || h.Account
	}
	for i, h := range c.Hosts {
		at := conf.Element("proxy.hosts", i) + ".personalKeys.enabled"
		switch {
		case !h.PersonalKeys:
		case !account[h.Host]:
			r.Add(at, "needs account on this host: people make and end their keys at /account")
		case c.Guard.Backend == "memory" && c.Keys.Source == "seed":
			r.Add(at, `needs guard.backend "redis" or "postgres": a key outlives a restart with keys.source "seed", and that it was ended would be forgotten`)
		}
	}
	for i, h := range c.Hosts {
		if h.Account && len(h.Pages) > 0 {
			r.Warn(conf.Element("proxy.hosts", i)+".account", "is on a host with pages, whose scripts then have the same origin as /account; give /account a host of its own unless you trust the MCP server with what people can do there")
		}
	}
}
