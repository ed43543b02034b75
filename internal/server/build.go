package server

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/account"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authcode"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authorize"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/breaker"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/own"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/personal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/discovery"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/envoy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/flows"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/kuadrant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/operator"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/people"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reload"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// builder makes the parts of a service. Each step uses what the steps before it made.
type builder struct {
	*service
	// before is the service that is in force until this one takes over; nil at the start.
	before *service

	callback  *resource.Host // nil where each host has a callback of its own
	providers provider.Set
	rules     *policy.Policy
	codes     *authcode.Codes
	pages     *page.Pages
	apiKeys   *apikey.Store
	// sessions are those of people's browsers, nil where no host has any.
	sessions *session.Sessions
	proofs   *dpop.Verifier
	// assertions are those of machines; nil if none are accepted.
	assertions *assertion.Registry
	people     *people.Records // nil where nothing shows them
	personal   *personal.Keys
	devices    *device.Codes // nil where none may sign in
}

// build makes a service of a configuration that Check has accepted. It puts nothing in force.
func (l *lasting) build(cfg *config.Config, before *service) (*service, error) {
	b := &builder{service: &service{lasting: l, cfg: cfg, metrics: l.metrics.next()}, before: before}
	for _, step := range []func() error{
		b.hosts, b.observe, b.secure, b.signKeys, b.signIns, b.listTools, b.deny, b.holdKeys, b.admit, b.followCredentials, b.holdSessions, b.issuers, b.trust, b.watchGates,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	b.verifyProofs()
	b.listen(b.endpoints())
	b.before = nil // the service holds functions of its builder, which must not hold all earlier services
	return b.service, nil
}

// hosts makes the table of MCP servers.
func (b *builder) hosts() (err error) {
	if b.table, err = resource.NewTable(b.cfg.Hosts); err != nil {
		return err
	}
	b.callback, err = callbackHost(b.cfg.CallbackHost)
	return err
}

// observe remembers sign-ins if they are to be shown.
func (b *builder) observe() error {
	if b.cfg.DebugFlows {
		b.recent = flows.New(b.opt.Now)
		if b.before != nil && b.before.recent != nil {
			b.recent = b.before.recent
		}
	}
	return nil
}

// signKeys keeps each signing key for the longest lifetime of what it signs now.
func (b *builder) signKeys() error {
	b.keys.Outlive(longestSigned(b.cfg))
	b.metrics.watchKeys(b.keys, b.opt.Now)
	return nil
}

// signIns makes the identity providers, and follows their users files.
func (b *builder) signIns() (err error) {
	client := guarded(b.opt.HTTPClient, b.cfg.Limits.ProviderRequests, b.metrics, b.log)
	watched := func(p connector.Config) watch { return b.metrics.watchProvider(p, b.tracer, b.log) }
	follow := func(id, usersFile string, c *static.Connector) {
		b.files.add(&reload.File{
			What: "users file", Path: usersFile, MaxBytes: static.MaxFileBytes, Apply: users(c), Loaded: usersLoaded(b.audit, b.metrics, id),
		}, b.log)
	}
	b.providers, err = identityProviders(b.cfg.Providers, b.opt.Now, client, watched, b.adoptProvider, follow)
	return err
}

// deny follows the operator's deny-list. It comes into force with the service. If it
// cannot be read the service does not come into force: it would admit people whom the
// operator denies.
func (b *builder) deny() error {
	if b.cfg.DenyList == "" {
		b.begins = append(b.begins, func() error { b.memory.ended.Deny(revocation.Denied{}); return nil })
		return nil
	}
	denied := denyList(b.cfg.DenyList, b.memory.ended, denyListLoaded(b.audit, b.metrics))
	b.files.add(denied, b.log)
	b.begins = append(b.begins, denied.Load)
	return nil
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
	b.files.add(file, b.log)
	return file.Load()
}

// admit makes the clients, the gate for people and the policy.
func (b *builder) admit() (err error) {
	if b.clients, err = newClients(b.cfg, b.opt, b.sealing); err == nil && b.before != nil {
		b.clients.Adopt(b.before.clients)
	}
	b.rules = policy.New(b.table.All(), b.cfg.ProviderIDs(), opens(b.catalogue))
	b.codes = authcode.NewCodes(b.sealing, b.replay, b.memory.store != nil, b.opt.Now)
	if slices.ContainsFunc(b.table.All(), func(r *resource.Resource) bool { return r.DeviceGrant }) {
		b.devices = device.New(b.sealing, b.replay, b.opt.Now)
	}
	b.pages = page.New(b.cfg.Branding)
	if b.table.SignsIn() {
		b.sessions = session.New(b.sealing, b.cfg.BrowserSessions, b.opt.Now)
	}
	if b.sessions != nil || b.cfg.Operators.On() {
		b.people = people.New(b.sealing, b.replay, b.memory.store != nil)
	}
	b.personal = personal.New(b.sealing)
	return err
}

// watchGates makes the gate watch.
func (b *builder) watchGates() error {
	b.gates = gatewatch.New(b.cfg.GateWatch, gatewatch.Options{
		Table: b.table, Logger: b.log, Version: b.opt.Version, Asked: b.metrics.gateQuestions.Inc, Transport: b.opt.Gateways,
	})
	if b.before != nil {
		b.gates.Adopt(b.before.gates)
	}
	b.metrics.watchGates(b.gates)
	assertions, files := b.assertions, &b.files
	b.trouble = func() []string {
		return slices.Concat(files.trouble(), b.gates.Trouble(), b.foreign.Trouble(), assertions.Trouble(), b.refusedCredentials())
	}
	return nil
}

// endpoints makes the endpoints and their limits.
func (b *builder) endpoints() (endpoints, *limits) {
	limits := b.newLimits()
	e := endpoints{
		browser: &authorize.Endpoint{
			Clients: b.clients, Catalogue: b.ask, Providers: b.providers, CallbackHost: b.callback, Hosts: b.table.Host,
			Policy: b.rules, Ended: b.memory.ended, Codes: b.codes, Guard: b.replay, Answered: b.answered,
			Steps: authorize.NewSteps(b.sealing, b.opt.Now), Refused: b.refused,
			Requests: b.perMinute("authorize", b.cfg.Limits.ClientRequests), SignIns: b.attempts(limits),
			Devices: b.devices, UserCodes: b.userCodes(limits),
			Pages: b.pages, Audit: b.audit, Now: b.opt.Now, SkipConsent: !b.cfg.ConsentScreen,
			Pushed: b.cfg.Pushed.Enabled, PushedOnly: b.cfg.Pushed.Required,
			Sessions: b.sessions, People: b.people,
		},
		tokens: &grant.Endpoint{
			Grants: grant.All(), Clients: b.clients, Providers: b.providers, Held: b.held, Codes: b.codes, Guard: b.replay, Ended: b.memory.ended, Policy: b.rules, Verifier: b.verifier, Audit: b.audit, Devices: b.devices,
			Failures: b.failures, Revocations: b.revocations, Now: b.opt.Now,
			Requests: b.perMinute("token", b.cfg.Limits.ClientRequests), Refresh: b.refresh(), Assertions: b.assertions,
			Proofs: b.proofs, Exchanges: b.exchanges(),
			Tokens: &token.Issuer{Keys: b.keys, Persons: b.persons, Lifetime: b.cfg.Tokens.AccessTokenLifetime, Now: b.opt.Now},
		},
		introspection: b.cfg.Introspection, pushed: b.cfg.Pushed.Enabled,
	}
	if e.pushed {
		e.tokens.Push = func(r *http.Request, host *resource.Host, client *registration.Client, params url.Values) (string, int, error) {
			uri, err := e.browser.Push(r, host, client, params)
			return uri, int(authorize.PushedLifetime / time.Second), err
		}
	}
	e.tokens.People = b.people
	b.events = b.securityEvents()
	e.events = b.events
	if b.sessions != nil {
		e.account = b.account()
	}
	if b.clients.Dynamic != nil {
		e.registration = &registration.Endpoint{Dynamic: b.clients.Dynamic, Audit: b.audit}
	}
	e.documents = &discovery.Endpoint{Features: e.features(b.clients), Catalogue: b.peek, JWKS: b.keys.JWKS}
	return e, limits
}

// account makes the pages where people see what they allowed.
func (b *builder) account() *account.Endpoint {
	return &account.Endpoint{
		Sessions: b.sessions, People: b.people, Ended: b.memory.ended, Keys: b.personal, KeyLifetime: b.cfg.PersonalKeys.MaxLifetime, KeySignIns: b.cfg.PersonalKeys.SignInEvery,
		Resources: b.table.All(), Catalogue: b.ask, Peek: b.peek, Policy: b.rules, Providers: b.providers, Guard: b.replay,
		Forms: account.NewForms(b.sealing), Pages: b.pages, Audit: b.audit, Now: b.opt.Now, GrantLifetime: b.grantLifetime(),
	}
}

// grantLifetime is how long anything that a person allowed can live.
func (b *builder) grantLifetime() time.Duration {
	return max(b.cfg.Tokens.AccessTokenLifetime, b.cfg.Tokens.RefreshAbsolute, b.cfg.BrowserSessions.Lifetime, b.cfg.PersonalKeys.MaxLifetime)
}

// operators makes the endpoint where operators ask about people, nil if it is off.
func (b *builder) operators() *operator.Endpoint {
	if !b.cfg.Operators.On() {
		return nil
	}
	return &operator.Endpoint{
		Token: b.cfg.Operators.Token, People: b.people, Ended: b.memory.ended, Audit: b.audit, Now: b.opt.Now, GrantLifetime: b.grantLifetime(),
	}
}

// refresh makes the parts for refresh tokens, nil if there are none.
func (b *builder) refresh() *grant.Refresh {
	if !b.cfg.Tokens.Refresh.Enabled {
		return nil
	}
	return grant.NewRefresh(b.sealing, grant.Refresh{
		Providers: b.providers, Idle: b.cfg.Tokens.RefreshIdle, Absolute: b.cfg.Tokens.RefreshAbsolute, Now: b.opt.Now,
		Changed: func(uri string, scopes []string, fingerprints string) []string {
			return b.catalogue.Peek(uri).Changed(scopes, fingerprints)
		},
		Agree: func(uri string, scopes []string) string { return b.catalogue.Peek(uri).Agree(scopes) },
		Exists: func(uri, scope string) bool {
			cat := b.catalogue.Peek(uri)
			return cat.Unavailable || slices.Contains(cat.ScopeNames(), scope)
		},
	})
}

// listen makes the handlers of the listeners.
func (b *builder) listen(e endpoints, limits *limits) {
	load := &load{limit: b.cfg.Limits.RequestsInFlight, pages: b.pages, log: b.log, now: b.opt.Now, inFlight: &b.inFlight}
	b.metrics.watchLoad(load, everyRoute())
	rest := b.tracer.Handler(b.metrics.instrument(e.mux(b.table, b.pages, limits, load)))
	b.decisions = b.decide(e)
	b.named = envoy.Named(b.decisions.Others())
	asked, served := pageForPeople(b.pages, web.Navigates, b.decisions), b.serve(b.decisions)
	if served != nil {
		served = pageForPeople(b.pages, web.Opened, served)
	}
	b.protocol = protocol(b.log, b.table, asked, served, rest)
	b.management = b.manage()
}

// personSignIns knows which people an identity provider has confirmed recently, for
// their own keys.
func (b *builder) personSignIns() *personal.SignIns {
	return personal.NewSignIns(b.cfg.PersonalKeys.SignInEvery, func(ctx context.Context, subject string) (time.Time, error) {
		return b.people.Vouched(ctx, subject, b.opt.Now())
	}, b.opt.Now)
}

// kinds are the kinds of credentials, in the order in which they are asked whether a
// credential is theirs.
func (b *builder) kinds() credential.Kinds {
	var kinds credential.Kinds
	if b.table.HasPages() { // first, because at a page it alone decides
		kinds = append(kinds, session.Kind{Sessions: b.sessions, Policy: b.rules})
	}
	if slices.ContainsFunc(b.table.All(), func(r *resource.Resource) bool { return r.PersonalKeys }) {
		kinds = append(kinds, personal.Kind{Keys: b.personal, Policy: b.rules, SignIns: b.personSignIns()})
	}
	kinds = append(kinds, apikey.Kind{Keys: b.apiKeys, Now: b.opt.Now})
	if hook := &b.cfg.APIKeys.Webhook; hook.On() {
		started := *hook // a configuration may be used by several services
		started.Start(b.way("the webhook for API keys", hook.Authorities), b.opt.Now)
		b.adoptWebhook(&started)
		kinds = append(kinds, &started)
	}
	return append(kinds, b.introspection(), own.Kind{Verifier: b.verifier, Held: b.held}, b.foreign)
}

// way returns the HTTP client for a server that is asked about credentials.
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

// verifyProofs makes the verifier of DPoP proofs. A nonce of the previous service is
// valid here as well.
func (b *builder) verifyProofs() {
	var nonces *dpop.Nonces
	if b.cfg.DPoP.Nonces {
		nonces = dpop.NewNonces(b.sealing, b.cfg.DPoP.NonceLifetime, b.opt.Now)
	}
	b.proofs = dpop.New(nonces, b.opt.Now)
}

// additions are the headers that single MCP servers get beside the identity headers.
func (b *builder) additions() map[string][]forwardauth.Addition {
	out := map[string][]forwardauth.Addition{}
	for i, c := range b.cfg.ServerCredentials {
		if c != nil {
			uri := b.table.All()[i].URI
			out[uri] = append(out[uri], forwardauth.Addition{Name: c.Header, ServedOnly: !c.ToGateway, Value: func(*forwardauth.View) string { return c.Value() }})
		}
	}
	for i, settings := range b.cfg.Kuadrant {
		if !settings.On() {
			continue
		}
		r := b.table.All()[i]
		s := &kuadrant.Signer{Settings: settings, Issuer: r.Host.Issuer, Log: b.log, Now: b.opt.Now}
		out[r.URI] = append(out[r.URI], forwardauth.Addition{Name: kuadrant.Header, Value: func(v *forwardauth.View) string {
			if v == nil {
				return kuadrant.Nothing
			}
			return s.Value(*v, func() kuadrant.Shown { return kuadrant.Shown(v.Names()) })
		}})
	}
	return out
}

// decide makes the forward-auth endpoint. It is told of each token that is issued, and
// tells the guard of the first use of each. It takes over no decision of the previous
// service, because this one may decide otherwise.
func (b *builder) decide(e endpoints) *forwardauth.Endpoint {
	news := guard.NewNews(b.replay, grant.Grace+keyset.Skew, b.opt.Now, b.metrics.newsLost)
	d := forwardauth.New(forwardauth.Endpoint{
		Resources: b.table, Credentials: b.kinds(), Ended: b.memory.ended, Policy: b.rules,
		Scopes:    func(r *resource.Resource) forwardauth.Scopes { return b.catalogue.Want(r.URI) },
		Learn:     b.learn,
		Additions: b.additions(),
		Headers:   b.cfg.IdentityHeaders, Identities: identities(b.cfg, b.keys, token.NewTickets(b.sealing)), TrustedProxies: b.cfg.Listen.TrustedProxies,
		MostTokens: b.cfg.Tokens.Remembered, Proofs: b.proofs, UsedProofs: b.usedProofs, Used: news.Used, Challenged: news.Challenge, Audit: b.audit,
		Count: b.metrics.decision, Trace: b.tracer.Decision(), Now: b.opt.Now,
	})
	d.Refused = b.refused.Note
	if b.table.HasPages() {
		d.Session = session.Presented
		d.Refusal = func(host *resource.Host, target string, cookies, languages []string) (forwardauth.Refusal, bool) {
			r, ok := e.account.Refusal(host, target, cookies, languages)
			return forwardauth.Refusal{Header: r.Header, Body: r.Body, Flow: r.Reference}, ok
		}
	}
	e.tokens.Used, e.tokens.Issued = news.Used, d.Issued
	b.metrics.watchTokens(d.Remembered)
	return d
}
