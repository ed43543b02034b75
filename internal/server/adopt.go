package server

import (
	"reflect"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/introspection"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
)

// learnt is what a service has learnt from other servers and keeps for a while. The
// next service takes over what unchanged settings gave, so a reload sends no requests.
// Decisions are made again.
type learnt struct {
	connectors map[string]connector.Connector // by the ids of providers
	introspect *introspection.Kind
	webhook    *apikey.Webhook // nil for none
}

// adoptProvider takes over the discovery document and the keys of a provider.
func (b *builder) adoptProvider(p connector.Config, c connector.Connector) {
	if b.learnt.connectors == nil {
		b.learnt.connectors = map[string]connector.Connector{}
	}
	b.learnt.connectors[p.ID] = c
	adopter, ok := c.(connector.Adopter)
	if !ok || b.before == nil || b.cfg.Limits.ProviderRequests != b.before.cfg.Limits.ProviderRequests {
		return
	}
	for _, old := range b.before.cfg.Providers {
		if old.ID == p.ID && reflect.DeepEqual(old.Settings, p.Settings) {
			adopter.Adopt(b.before.learnt.connectors[p.ID])
		}
	}
}

// adoptTrusted takes over the keys of an issuer from the same place.
func (b *builder) adoptTrusted(c *assertion.Config, keys *jwks.Set) {
	if b.before == nil || c.JWKSFile != "" {
		return
	}
	for i, old := range b.before.cfg.TrustedIssuers {
		if old.Of(old.Issuer) == c.Of(c.Issuer) {
			keys.Adopt(b.before.trusted[i])
			return
		}
	}
}

// adoptWebhook takes over the webhook's answers about keys.
func (b *builder) adoptWebhook(hook *apikey.Webhook) {
	b.learnt.webhook = hook
	if b.before != nil && b.before.learnt.webhook != nil && reflect.DeepEqual(b.cfg.APIKeys.Webhook, b.before.cfg.APIKeys.Webhook) {
		hook.Adopt(b.before.learnt.webhook)
	}
}

// adoptIntrospection takes over the answers of other authorization servers about
// tokens, if all settings that turn an answer into a principal are the same.
func (b *builder) adoptIntrospection(kind *introspection.Kind) {
	b.learnt.introspect = kind
	if b.before == nil {
		return
	}
	old, places := b.before, map[string]int{}
	all := old.table.All()
	for i, r := range all {
		places[r.URI] = i
	}
	for i, r := range b.table.All() {
		j, ok := places[r.URI]
		if ok && reflect.DeepEqual(b.cfg.Introspected[i], old.cfg.Introspected[j]) && reflect.DeepEqual(b.cfg.AuthorizationServers[i], old.cfg.AuthorizationServers[j]) {
			kind.Adopt(r, old.learnt.introspect, all[j])
		}
	}
}
