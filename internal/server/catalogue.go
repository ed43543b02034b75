package server

import (
	"cmp"
	"context"
	"errors"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// fetchers are those of a service, by how they reach MCP servers.
type fetchers map[fetcherKey]*catalog.Fetcher

type fetcherKey struct{ proxy, authorities string }

// fetcher returns the fetcher for MCP servers with certificates of these authorities;
// nil means those of the system. It keeps the connections of the previous service and
// what that learnt about servers.
func (b *builder) fetcher(authorities []byte) *catalog.Fetcher {
	key := fetcherKey{"", string(authorities)}
	f := &catalog.Fetcher{Version: b.opt.Version, Dial: b.opt.Dial}
	if b.cfg.Egress.ProxyMCPServers {
		f.Proxy = b.cfg.Egress.Proxy()
		key.proxy = f.Proxy.String()
	}
	if len(authorities) > 0 {
		f.TLS = trust(authorities)
	}
	if b.fetchers == nil {
		b.fetchers = fetchers{}
	}
	if b.before != nil {
		b.fetchers[key] = b.before.fetchers[key]
	}
	if b.fetchers[key] == nil {
		b.fetchers[key] = f
	}
	return b.fetchers[key]
}

// fetch returns the fetcher for the MCP server at an endpoint: one for all servers that
// the system trusts, and one for each other set of authorities.
func (b *builder) fetch() func(context.Context, string) (*catalog.Catalogue, error) {
	system := b.fetcher(nil)
	byEndpoint := map[string]*catalog.Fetcher{}
	for _, h := range b.cfg.Hosts {
		if len(h.Authorities) > 0 {
			byEndpoint[h.Endpoint.String()] = b.fetcher(h.Authorities)
		}
	}
	credentials := credentialsByEndpoint(b.cfg)
	return func(ctx context.Context, endpoint string) (*catalog.Catalogue, error) {
		f, c := cmp.Or(byEndpoint[endpoint], system), credentials[endpoint]
		got, err := fetchTools(ctx, f, endpoint, c)
		if c == nil {
			return got, err
		}
		failed, _ := errors.AsType[*catalog.Error](err)
		c.Answered(failed != nil && failed.Result == catalog.ResultUnauthorized)
		return got, err
	}
}

// fetchTools lists the tools at an endpoint, showing a credential where there is one.
func fetchTools(ctx context.Context, f *catalog.Fetcher, endpoint string, c *outbound.Credential) (*catalog.Catalogue, error) {
	if c == nil {
		return f.Fetch(ctx, endpoint)
	}
	return f.FetchWith(ctx, endpoint, c.Header, c.Value())
}

// listTools makes the catalogue of the MCP servers' tools.
func (b *builder) listTools() error {
	secret, err := b.sealing.Derive("tools that people agree to", catalog.SecretBytes)
	if err != nil {
		return err
	}
	b.catalogue = catalog.New(catalog.Options{
		Secret: [catalog.SecretBytes]byte(secret), Read: b.watchTools().read,
		Targets: targets(b.table), Fetch: tracedFetch(b.tracer, b.fetch()), Now: b.opt.Now, Logger: b.log, Observe: b.metrics.catalogueFetch,
	})
	if b.before != nil {
		b.catalogue.Adopt(b.before.catalogue)
	}
	b.metrics.watchResources(b.table, func(r *resource.Resource) bool { return !b.peek(r).Unavailable })
	return nil
}

// peek returns what is known of a resource's tools, without I/O.
func (b *builder) peek(r *resource.Resource) *catalog.Catalogue { return b.catalogue.Peek(r.URI) }

// ask returns what is known of a resource's tools, and asks the MCP server first if need be.
func (b *builder) ask(ctx context.Context, r *resource.Resource) *catalog.Catalogue {
	c, _ := b.catalogue.Get(ctx, r.URI) // every resource is a target
	return c
}

// learn is ask, for a decision that needs the catalogue.
func (b *builder) learn(ctx context.Context, r *resource.Resource) bool {
	return !b.ask(ctx, r).Unavailable
}
