package server

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authcode"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authorize"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/breaker"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/own"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/discovery"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/envoy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/filter"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/flows"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/refusal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reload"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// builder makes the parts of a Server. Each step uses what the steps before it made.
type builder struct {
	*Server
	opt     Options
	metrics *metrics
	recent  *flows.Log // nil unless sign-ins are to be shown

	table    *resource.Table
	callback *resource.Host // nil where each host has a callback of its own
	sealing  *seal.Keyring
	persons  token.Persons
	verifier *token.Verifier
	// sessionKeys bind sessions of served MCP servers to their owners.
	sessionKeys [][]byte
	providers   provider.Set
	replay      guard.Guard
	clients     *registration.Clients
	rules       *policy.Policy
	codes       *authcode.Codes
	refused     *refusal.Memory
	pages       *page.Pages
	apiKeys     *apikey.Store
}

// hosts makes the table of MCP servers.
func (b *builder) hosts() (err error) {
	if b.table, err = resource.NewTable(b.cfg.Hosts); err != nil {
		return err
	}
	b.callback, err = callbackHost(b.cfg.CallbackHost)
	return err
}

// observe begins the traces and the audit log.
func (b *builder) observe() (err error) {
	if b.cfg.DebugFlows {
		b.recent = flows.New(b.opt.Now)
	}
	if b.tracer, err = tracing.New(b.cfg.Tracing, tracing.Options{
		Version: b.opt.Version, Logger: b.log, Failed: b.metrics.traceLosses.Inc, Now: b.opt.Now, Exporter: b.opt.SpanExporter,
	}); err != nil {
		return err
	}
	trail := b.log
	if b.cfg.AuditFile != "" {
		if b.auditFile, err = audit.OpenFile(b.cfg.AuditFile, b.log, func(n int) { b.metrics.auditLosses.Add(float64(n)) }); err != nil {
			return err
		}
		// What is asked for by name is written whatever else the log leaves out.
		trail = slog.New(slog.NewJSONHandler(b.auditFile, &slog.HandlerOptions{Level: min(b.cfg.LogLevel, slog.LevelInfo)}))
	}
	b.audit = &audit.Log{
		Logger: trail, Observe: observed(b.metrics, b.recent, b.tracer), Trace: b.tracer.ID(), Bounds: auditBounds(b.opt.Now), Counted: b.metrics.auditHeld.Inc,
	}
	return nil
}

// makeKeys makes the keys that seal values and those that sign tokens.
func (b *builder) makeKeys() (err error) {
	secrets, sources := keyMaterial(b.cfg.Keys)
	if b.opt.KeySource != nil {
		for i := range sources {
			sources[i] = b.opt.KeySource(sources[i])
		}
	}
	if b.sealing, err = seal.NewKeyring(b.opt.Now, secrets...); err != nil {
		return err
	}
	if b.sessionKeys, err = b.sealing.DeriveAll("relay session", sha256.Size); err != nil {
		return err
	}
	b.keys, err = keyset.New(keyset.Options{
		Sources: sources, Period: b.cfg.Keys.Rotation, Now: b.opt.Now,
		TokenLifetime: max(b.cfg.Tokens.AccessTokenLifetime, b.cfg.IdentityHeaders.Signed.Lifetime),
		OnGenerate: func(k keyset.Key, took time.Duration) {
			b.metrics.keyGenerated(took)
			b.audit.Write(context.Background(), audit.Entry{Event: audit.KeyGenerated, KeyID: k.ID})
		},
	})
	if err != nil {
		return err
	}
	b.metrics.watchKeys(b.keys, b.opt.Now)
	b.persons = token.NewPersons(b.sealing)
	b.verifier = &token.Verifier{Keys: b.keys, Persons: b.persons, Now: b.opt.Now}
	return nil
}

// signIns makes the identity providers, and follows their users files.
func (b *builder) signIns() (err error) {
	client := guarded(b.opt.HTTPClient, b.cfg.Limits.ProviderRequests, b.metrics, b.log)
	watched := func(p connector.Config) watch { return b.metrics.watchProvider(p, b.tracer, b.log) }
	follow := func(id, usersFile string, c *static.Connector) {
		b.files = append(b.files, &reload.File{
			What: "users file", Path: usersFile, MaxBytes: static.MaxFileBytes, Apply: users(c), Loaded: usersLoaded(b.audit, b.metrics, id),
		})
	}
	b.providers, err = identityProviders(b.cfg.Providers, client, watched, follow)
	return err
}

// listTools makes what knows the tools of the MCP servers.
func (b *builder) listTools() error {
	b.catalogue = catalog.New(catalog.Options{
		Targets: targets(b.table), Fetch: tracedFetch(b.tracer, fetch(b.cfg, b.opt.Version)), Now: b.opt.Now, Logger: b.log, Observe: b.metrics.catalogueFetch,
	})
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

// remember makes the memory of what must not happen twice and of what is revoked,
// with the operator's deny-list. A service that cannot read its deny-list at the
// start must not serve: it would admit people whom the operator denies.
func (b *builder) remember() (err error) {
	if b.memory, err = newMemory(b.cfg.Guard, b.opt, b.metrics); err != nil {
		return err
	}
	b.replay = b.memory.guard
	if b.tracer != nil {
		b.replay = tracedGuard{b.replay, b.tracer}
	}
	if b.cfg.DenyList == "" {
		return nil
	}
	denied := denyList(b.cfg.DenyList, b.memory.ended, denyListLoaded(b.audit, b.metrics))
	b.files = append(b.files, denied)
	return denied.Load()
}

// holdKeys reads the API keys, and follows their file. A service that cannot read
// the file at the start must not serve: its clients would be told that their keys
// are gone.
func (b *builder) holdKeys() error {
	b.apiKeys = apikey.NewStore(b.cfg.APIKeys, b.opt.Now)
	b.apiKeys.Warn = func(m conf.Mistake) {
		b.log.Warn("the file of API keys should be another way", "key", m.Path, "problem", m.Problem)
	}
	b.metrics.apiKeys(b.apiKeys.Len(), nil)
	if b.cfg.APIKeys.File == "" {
		return nil
	}
	file := apiKeysFile(b.cfg.APIKeys, b.apiKeys, apiKeysLoaded(b.apiKeys, b.audit, b.metrics))
	b.files = append(b.files, file)
	return file.Load()
}

// admit makes what says which clients and people may have what.
func (b *builder) admit() (err error) {
	b.clients, err = newClients(b.cfg, b.opt, b.sealing)
	b.rules = policy.New(b.table.All(), b.cfg.ProviderIDs(), opens(b.catalogue))
	b.codes = authcode.NewCodes(b.sealing, b.replay, b.memory.store != nil, b.opt.Now)
	b.refused = refusal.New(b.opt.Now)
	b.pages = page.New(b.cfg.Branding)
	return err
}

// watchGates makes what looks at the gateways from outside.
func (b *builder) watchGates() error {
	b.gates = gatewatch.New(b.cfg.GateWatch, gatewatch.Options{
		Table: b.table, Logger: b.log, Version: b.opt.Version, Asked: b.metrics.gateQuestions.Inc, Transport: b.opt.Gateways,
	})
	b.metrics.watchGates(b.gates)
	b.ready.degraded = func() []string {
		reasons := append(b.gates.Trouble(), b.foreign.Trouble()...)
		if reason := b.memory.degraded(); reason != "" {
			reasons = append([]string{reason}, reasons...)
		}
		return reasons
	}
	return nil
}

// endpoints makes the endpoints and what limits requests to them.
func (b *builder) endpoints() (endpoints, *limits) {
	limits := newLimits(b.cfg, b.pages, b.audit, b.opt.Now)
	e := endpoints{
		browser: &authorize.Endpoint{
			Clients: b.clients, Catalogue: b.ask, Providers: b.providers, CallbackHost: b.callback, Hosts: b.table.Host,
			Policy: b.rules, Ended: b.memory.ended, Codes: b.codes, Guard: b.replay, Answered: guard.NewMemory(answeredPages, b.opt.Now),
			Steps: authorize.NewSteps(b.sealing, b.opt.Now), Refused: b.refused,
			Requests: perMinute(b.cfg.Limits.ClientRequests, b.opt.Now), SignIns: limits.signIns(b.cfg.Limits.SignInAttempts, b.opt.Now),
			Pages: b.pages, Audit: b.audit, Now: b.opt.Now, SkipConsent: !b.cfg.ConsentScreen,
		},
		tokens: &grant.Endpoint{
			Grants: grant.All(), Clients: b.clients, Codes: b.codes, Guard: b.replay, Ended: b.memory.ended, Policy: b.rules, Verifier: b.verifier, Audit: b.audit,
			Failures: grant.NewFailures(b.opt.Now), Revocations: grant.NewRevocations(b.opt.Now), Now: b.opt.Now,
			Requests: perMinute(b.cfg.Limits.ClientRequests, b.opt.Now), Refresh: b.refresh(),
			Tokens: &token.Issuer{Keys: b.keys, Persons: b.persons, Lifetime: b.cfg.Tokens.AccessTokenLifetime, Now: b.opt.Now},
		},
		introspection: b.cfg.Introspection,
	}
	if b.clients.Dynamic != nil {
		e.registration = &registration.Endpoint{Dynamic: b.clients.Dynamic, Audit: b.audit}
	}
	e.documents = &discovery.Endpoint{Features: e.features(b.clients), Catalogue: b.peek, JWKS: b.keys.JWKS}
	return e, limits
}

// refresh makes what refresh tokens need, nil where there are none.
func (b *builder) refresh() *grant.Refresh {
	if !b.cfg.Tokens.Refresh.Enabled {
		return nil
	}
	return grant.NewRefresh(b.sealing, grant.Refresh{
		Providers: b.providers, Idle: b.cfg.Tokens.RefreshIdle, Absolute: b.cfg.Tokens.RefreshAbsolute, Now: b.opt.Now,
		Changed: func(uri string, scopes []string, fingerprints string) []string {
			return b.catalogue.Peek(uri).Changed(scopes, fingerprints)
		},
		Exists: func(uri, scope string) bool {
			cat := b.catalogue.Peek(uri)
			return cat.Unavailable || slices.Contains(cat.ScopeNames(), scope)
		},
	})
}

// listen makes the handlers of the listeners.
func (b *builder) listen(e endpoints, limits *limits) {
	load := &load{limit: b.cfg.Limits.RequestsInFlight, pages: b.pages, log: b.log, now: b.opt.Now}
	b.metrics.watchLoad(load, everyRoute())
	rest := b.tracer.Handler(b.metrics.instrument(e.mux(b.table, b.pages, limits, load)))
	decisions := b.decisions(e.tokens)
	asked, served := pageForPeople(b.pages, web.Navigates, decisions), b.serve(decisions)
	if served != nil {
		served = pageForPeople(b.pages, web.Opened, served)
	}
	b.Protocol = protocol(b.log, b.table, asked, served, rest)
	b.Management = b.management(b.metrics, b.recent)
	b.Envoy = envoy.NewServer(decisions, func(ctx context.Context, q *forwardauth.Request) (filter.View, bool, bool) {
		return decisions.Reads(ctx, q)
	}, b.log)
}

// kinds are what a request may prove itself with, in the order in which they are
// asked whether a credential is theirs.
func (b *builder) kinds() credential.Kinds {
	kinds := credential.Kinds{apikey.Kind{Keys: b.apiKeys, Now: b.opt.Now}}
	if hook := &b.cfg.APIKeys.Webhook; hook.On() {
		started := *hook // a configuration may be used by several services
		started.Start(b.way("the webhook for API keys", hook.Authorities), b.opt.Now)
		kinds = append(kinds, &started)
	}
	return append(kinds, b.introspection(), own.Kind{Verifier: b.verifier}, b.foreign)
}

// way is how a server that is asked about credentials is reached.
func (b *builder) way(name string, authorities []byte) http.RoundTripper {
	var transport http.RoundTripper
	if b.opt.HTTPClient != nil {
		transport = b.opt.HTTPClient.Transport
	}
	return breaker.New(trusting(transport, authorities), b.cfg.Limits.ProviderRequests, func(open bool) {
		if open {
			b.log.Error("a server that is asked about credentials does not answer: those that are not known are refused until it does", "server", name)
		} else {
			b.log.Info("a server that is asked about credentials answers again", "server", name)
		}
	})
}

// decisions makes what answers gateways. It hears of the tokens that are issued,
// and tells the guard of the first use of each.
func (b *builder) decisions(tokens *grant.Endpoint) *forwardauth.Endpoint {
	news := guard.NewNews(b.replay, grant.Grace+keyset.Skew, b.opt.Now, b.metrics.newsLost)
	d := forwardauth.New(forwardauth.Endpoint{
		Resources: b.table, Credentials: b.kinds(), Ended: b.memory.ended, Policy: b.rules,
		Scopes:  func(r *resource.Resource) forwardauth.Scopes { return b.catalogue.Want(r.URI) },
		Headers: b.cfg.IdentityHeaders, Identities: identities(b.cfg, b.keys), TrustedProxies: b.cfg.Listen.TrustedProxies,
		MostTokens: b.cfg.Tokens.Remembered, Used: news.Used, Challenged: news.Challenge, Audit: b.audit,
		Count: b.metrics.decision, Trace: b.tracer.Decision(), Now: b.opt.Now,
	})
	d.Refused = b.refused.Note
	tokens.Used, tokens.Issued = news.Used, d.Issued
	b.metrics.watchTokens(d.Remembered)
	return d
}
