package server

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// holdSessions makes the keeper of sessions with identity providers for the tokens of
// MCP servers, nil if none is held.
func (b *builder) holdSessions() error {
	holds := func(r *resource.Resource) bool { return r.ProviderToken != nil && r.ProviderToken.Held }
	if !slices.ContainsFunc(b.table.All(), holds) {
		return nil
	}
	b.held = providertoken.New(b.sealing, b.cfg.Tokens.Remembered, &providertoken.Held{
		Guard: b.replay, Providers: b.providers, Resources: b.table, Policy: b.rules, Ended: b.memory.ended, Now: b.opt.Now, Logger: b.log,
		End: b.endSignIn, Observe: b.metrics.watchRenewals(),
	})
	return nil
}

// endSignIn ends all tokens of a sign-in whose session at the provider has ended.
func (b *builder) endSignIn(family string, until time.Time, subject string, why reasons.Reason, cause error) {
	if why == reasons.ProviderSessionOver || why == reasons.ProviderTokenMissing {
		return // the person is not at fault; the client signs in again
	}
	entry := audit.Entry{Event: audit.FamilyEnded, Family: family, Subject: subject, Reason: why, Cause: cause}
	if err := b.memory.ended.RevokeFamily(family, until); err != nil {
		entry.Cause = err
	}
	b.audit.Write(context.Background(), entry)
}

// tokenRefused ends the sign-in of a request that its MCP server answered with 401, and
// the client signs in again. It does not if the token has been renewed meanwhile.
func (b *builder) tokenRefused(d *forwardauth.Decision) {
	family, t := d.Token.Family(), d.Resource.Server().ProviderToken
	sent := ""
	for i, name := range d.Headers.Names {
		if name == t.Header {
			sent = d.Headers.Values[i]
		}
	}
	switch now := b.opt.Now(); {
	case family == "" || sent == "-":
	case t.Held:
		b.held.Dead(family, sent, grant.YoungToken)
	case now.Sub(time.Unix(d.Token.Issued, 0)) > grant.YoungToken:
		b.endSignIn(family, now.Add(b.cfg.Tokens.RefreshAbsolute), d.Token.Subject(), reasons.ProviderTokenDead, nil)
	}
}

// watchRenewals makes the metric of renewals.
func (m *metrics) watchRenewals() func(providertoken.Outcome) {
	renewals := m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_provider_token_renewals_total", Help: "Renewals of sessions with identity providers that are held for MCP servers, by how they ended. Only where providerToken.form is held.",
	}, []string{"outcome"})
	by := map[providertoken.Outcome]prometheus.Counter{}
	for _, o := range providertoken.Outcomes {
		by[o] = renewals.WithLabelValues(string(o))
	}
	return func(o providertoken.Outcome) { by[o].Inc() }
}
