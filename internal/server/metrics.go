package server

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/attribute"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// metrics are the Prometheus metrics. Every label value comes from a closed set of this
// program, so strangers cannot create series.
type metrics struct {
	make        factory
	decisions   [][]prometheus.Counter // by forwardauth.Dialect and Reason
	events      *prometheus.CounterVec
	requests    *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	catalogues  *prometheus.HistogramVec
	toolChanges *prometheus.GaugeVec
	keys        prometheus.Histogram
	guardCalls  map[guard.Operation]map[bool]prometheus.Observer // by whether it failed
	guardUp     prometheus.Gauge
	circuits    prometheus.Gauge
	denied      prometheus.Gauge
	denyBroken  prometheus.Gauge
	usersBroken *prometheus.GaugeVec // by provider
	heldKeys    prometheus.Gauge
	keysBroken  prometheus.Gauge
	limited     map[reasons.Reason]prometheus.Counter // by audit reason

	decisionTime prometheus.Histogram
	lookups      [3]prometheus.Counter // by forwardauth.Lookup; nil for none
	// perResource counts decisions about good tokens by resource and reason. A series
	// begins with its first decision, because all series of ten thousand MCP servers would
	// be too many. Strangers cannot begin one, and resourceSeries limits their number.
	perResource                                                    *prometheus.CounterVec
	resourceSeries                                                 *atomic.Int64
	resources                                                      map[*resource.Resource]*[forwardauth.NumReasons]atomic.Pointer[prometheus.Counter]
	steps                                                          map[audit.Step]prometheus.Counter
	providers                                                      *prometheus.HistogramVec
	leftOut                                                        *prometheus.CounterVec // by provider and kind of notice
	skew                                                           prometheus.Gauge
	auditLosses                                                    prometheus.Counter
	auditHeld                                                      prometheus.Counter
	traceLosses                                                    prometheus.Counter
	repeats                                                        prometheus.Counter
	usesLost                                                       prometheus.Counter
	gateQuestions                                                  prometheus.Counter
	configGood, configTime, configPending, hostsFiles, hostsBroken prometheus.Gauge
	issuerSets                                                     *prometheus.GaugeVec   // by issuer
	issuerFetches                                                  *prometheus.CounterVec // by issuer and result
}

// newMetrics returns the metrics of the process and of its first service.
func newMetrics(version string) *metrics {
	lasting := prometheus.NewRegistry()
	lasting.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	lasting.MustRegister(info)
	m := &metrics{make: factory{lasting, prometheus.NewRegistry()}, resourceSeries: new(atomic.Int64)}
	m.makeAll()
	return m
}

// next returns the metrics of another service of the process.
func (m *metrics) next() *metrics {
	n := &metrics{make: factory{m.make.lasting, prometheus.NewRegistry()}, resourceSeries: m.resourceSeries}
	n.makeAll()
	return n
}

func (m *metrics) makeAll() {
	m.makeRequests()
	m.makeSignIns()
	m.makeDecisions()
	m.makeProviders()
	m.makeGuard()
	m.makeFiles()
	m.makeLosses()
	m.makeIssuers()
	m.makeConfig()
	m.gateQuestions = m.make.NewCounter(prometheus.CounterOpts{
		Name: "mcp_forward_auth_gate_questions_total", Help: "Requests that the gate watch sent to gateways. A gateway asks this service about most of them, and they count among the decisions.",
	})
}

// makeRequests makes the metrics of requests other than forward auth.
func (m *metrics) makeRequests() {
	m.requests = m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_http_requests_total", Help: "Requests to the protocol listener other than forward auth, by route pattern and status class.",
	}, []string{"route", "status"})
	m.durations = m.make.NewHistogramVec(prometheus.HistogramOpts{
		Name: "mcp_forward_auth_http_request_duration_seconds", Help: "Time to answer requests other than forward auth, by route pattern.",
		Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10},
	}, []string{"route"})
	limited := m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_limited_requests_total", Help: "Requests answered 429 because a limit was reached, by audit reason.",
	}, []string{"reason"})
	m.limited = map[reasons.Reason]prometheus.Counter{}
	for _, r := range limitReasons {
		m.limited[r] = limited.WithLabelValues(string(r))
	}
}

// makeSignIns makes the metrics of audit events, and of sign-ins and tokens.
func (m *metrics) makeSignIns() {
	m.events = m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_events_total", Help: "Audit events by kind.",
	}, []string{"event"})
	for _, e := range audit.Events {
		m.events.WithLabelValues(string(e))
	}
	steps := m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_login_steps_total", Help: "Sign-ins that reached a step, whatever their outcome; the difference between two steps is how many ended between them.",
	}, []string{"step"})
	m.steps = map[audit.Step]prometheus.Counter{}
	for _, s := range audit.Steps {
		m.steps[s] = steps.WithLabelValues(string(s))
	}
	m.catalogues = m.make.NewHistogramVec(prometheus.HistogramOpts{
		Name: "mcp_forward_auth_catalogue_fetch_duration_seconds", Help: "Time to list an MCP server's tools, by result.",
		Buckets: []float64{.01, .05, .25, 1, 5, 10},
	}, []string{"result"})
	m.toolChanges = m.make.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_tools_changed_timestamp_seconds", Help: "When this replica last noticed a change of an MCP server's tools, in Unix seconds. No series for a server whose tools have not changed.",
	}, []string{"resource"})
	m.keys = m.make.NewHistogram(prometheus.HistogramOpts{
		Name: "mcp_forward_auth_signing_key_generation_seconds", Help: "Time to make a signing key.",
		Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5},
	})
	m.repeats = m.make.NewCounter(prometheus.CounterOpts{
		Name: "mcp_forward_auth_refresh_repeats_total", Help: "Refreshes that got the answer of an earlier one within the grace period: a lost answer, several processes of one client, or a thief.",
	})
}

// makeDecisions makes the metrics of forward-auth decisions.
func (m *metrics) makeDecisions() {
	decisions := m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_decisions_total", Help: "Forward-auth decisions by gateway dialect and reason.",
	}, []string{"dialect", "reason"})
	for _, d := range forwardauth.Dialects() {
		var byReason []prometheus.Counter
		for _, r := range forwardauth.Reasons() {
			byReason = append(byReason, decisions.WithLabelValues(d.String(), r.String()))
		}
		m.decisions = append(m.decisions, byReason)
	}
	m.decisionTime = m.make.NewHistogram(prometheus.HistogramOpts{
		Name: "mcp_forward_auth_decision_duration_seconds", Help: "Time to make a forward-auth decision, without reading the question and writing the answer.",
		Buckets: []float64{.000001, .000005, .00001, .00005, .0001, .0005, .001, .005, .025, .1, 1},
	})
	lookups := m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_token_cache_lookups_total", Help: "Look-ups of access tokens among those verified before, by result; a miss costs a signature check.",
	}, []string{"result"})
	m.lookups[forwardauth.Hit], m.lookups[forwardauth.Miss] = lookups.WithLabelValues("hit"), lookups.WithLabelValues("miss")
	m.perResource = m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_resource_decisions_total", Help: "Forward-auth decisions about requests with a valid token, by MCP server and reason; a series begins with its first decision, and after 20,000 series new ones count for the resource \"other\".",
	}, []string{"resource", "reason"})
}

// makeProviders makes the metrics of identity providers.
func (m *metrics) makeProviders() {
	m.circuits = m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_provider_circuits_open", Help: "Identity providers that have stopped answering; only one request at a time tries them.",
	})
	m.providers = m.make.NewHistogramVec(prometheus.HistogramOpts{
		Name: "mcp_forward_auth_provider_call_duration_seconds", Help: "Time of each operation at the identity provider, with all its requests, by provider (its id, or name), operation and result.",
		Buckets: []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"provider", "operation", "result"})
	m.leftOut = m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_provider_left_out_total", Help: "Parts of an identity provider's answers that could not be used, by provider (its id, or name) and kind: claim, key or userinfo. Each different one is in the log once, at level WARN.",
	}, []string{"provider", "kind"})
}

// makeGuard makes the metrics of the guard's shared back end.
func (m *metrics) makeGuard() {
	m.guardUp = m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_guard_up", Help: "0 while the guard's shared back end does not answer or accepts no writes, and sign-ins and refreshes are refused; else 1.",
	})
	m.guardUp.Set(1)
	calls := m.make.NewHistogramVec(prometheus.HistogramOpts{
		Name: "mcp_forward_auth_guard_call_duration_seconds", Help: "Time of each call of the guard's shared back end, by operation and result.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .1, .5, 2.5},
	}, []string{"operation", "result"})
	m.guardCalls = map[guard.Operation]map[bool]prometheus.Observer{}
	for _, op := range guard.Operations {
		m.guardCalls[op] = map[bool]prometheus.Observer{
			false: calls.WithLabelValues(string(op), "ok"), true: calls.WithLabelValues(string(op), "error"),
		}
	}
	m.skew = m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_guard_clock_skew_seconds", Help: "How far the clock of the guard's shared back end is ahead of this replica's, as last seen; 0 without one.",
	})
}

// makeIssuers makes the metrics of the keys of other authorization servers.
func (m *metrics) makeIssuers() {
	m.issuerSets = m.make.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_issuer_keys", Help: "Usable keys of an authorization server whose tokens are accepted; with 0 its tokens get 503.",
	}, []string{"issuer"})
	m.issuerFetches = m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_issuer_key_fetches_total", Help: "Attempts to fetch the keys of an authorization server whose tokens are accepted, by result.",
	}, []string{"issuer", "result"})
}

func (m *metrics) issuerKeys(f jwks.Fetch) {
	result := "ok"
	if f.Err != nil {
		result = "failed"
	}
	m.issuerFetches.WithLabelValues(f.Issuer, result).Inc()
	m.issuerSets.WithLabelValues(f.Issuer).Set(float64(f.Keys))
}

// seeds tells which seeds the process has, the one that it seals with first.
func (m *metrics) seeds(ids []string) {
	info := register(m.make.lasting, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_seed_info",
		Help: "Always 1: a seed that the replica has, by a fingerprint that says nothing about it; with use=\"seals\" it is the one that new values are sealed with. Each replica must have the seeds that the others seal with.",
	}, []string{"fingerprint", "use"}))
	for i, id := range ids {
		use := "opens"
		if i == 0 {
			use = "seals"
		}
		info.WithLabelValues(id, use).Set(1)
	}
}

// makeFiles makes the metrics of files that are read again when they change.
func (m *metrics) makeFiles() {
	m.denied = m.make.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_deny_list_entries", Help: "Entries of the operator's deny-list that are in force.",
	})
	m.denyBroken = m.make.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_deny_list_broken", Help: "1 while the deny-list file cannot be read or has a mistake, and its previous content stays in force.",
	})
	m.usersBroken = m.make.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_users_file_broken", Help: "1 while the users file of a static provider cannot be read or has a mistake, and its previous content stays in force; by id of the provider.",
	}, []string{"provider"})
	m.heldKeys = m.make.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_api_keys", Help: "Active API keys; one that is being rotated counts twice.",
	})
	m.keysBroken = m.make.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_api_keys_file_broken", Help: "1 while the file of API keys cannot be read or has a mistake, and its previous content stays in force.",
	})
}

// makeLosses makes the metrics of audit entries, traces and news that were lost.
func (m *metrics) makeLosses() {
	m.auditLosses = m.make.NewCounter(prometheus.CounterOpts{
		Name: "mcp_forward_auth_audit_entries_lost_total", Help: "Audit entries that could not be written to audit.file.",
	})
	m.auditHeld = m.make.NewCounter(prometheus.CounterOpts{
		Name: "mcp_forward_auth_audit_entries_counted_total", Help: "Audit entries beyond the limit of their kind, which the log counts instead of writing each.",
	})
	m.traceLosses = m.make.NewCounter(prometheus.CounterOpts{
		Name: "mcp_forward_auth_trace_export_failures_total", Help: "Batches of spans that the collector did not accept.",
	})
	m.usesLost = m.make.NewCounter(prometheus.CounterOpts{
		Name: "mcp_forward_auth_first_uses_lost_total", Help: "First uses of access tokens that could not be reported to the guard; the refresh token's grace period then does not end early.",
	})
}

func (m *metrics) decision(o forwardauth.Outcome) {
	m.decisions[o.Dialect][o.Reason].Inc()
	m.decisionTime.Observe(o.Took.Seconds())
	if c := m.lookups[o.Lookup]; c != nil {
		c.Inc()
	}
	if byReason := m.resources[o.Resource]; byReason != nil && o.Proven {
		c := byReason[o.Reason].Load()
		if c == nil {
			c = m.beginSeries(o.Resource.URI, o.Reason.String())
			byReason[o.Reason].Store(c)
		}
		(*c).Inc()
	}
}

// maxResourceSeries bounds the series that have an MCP server and a reason, so
// that a scrape stays below a few megabytes.
const maxResourceSeries = 20_000

// beginSeries returns the counter of a resource and a reason, or the one of all
// others.
func (m *metrics) beginSeries(resource, reason string) *prometheus.Counter {
	if m.resourceSeries.Add(1) > maxResourceSeries {
		resource = "other"
	}
	c := m.perResource.WithLabelValues(resource, reason)
	return &c
}

// forget removes the series of MCP servers that are no longer there.
func (m *metrics) forget(before, now *resource.Table) {
	there := map[string]bool{}
	for _, r := range now.All() {
		there[r.URI] = true
	}
	for _, r := range before.All() {
		if !there[r.URI] {
			m.resourceSeries.Add(-int64(m.perResource.DeletePartialMatch(prometheus.Labels{"resource": r.URI})))
		}
	}
}

func (m *metrics) event(e audit.Entry) {
	m.events.WithLabelValues(string(e.Event)).Inc()
	if c := m.limited[e.Reason]; c != nil {
		c.Inc()
	}
	if e.Event == audit.TokenRefreshed && e.Reason == reasons.RefreshTokenRepeated {
		m.repeats.Inc()
	}
	if c := m.steps[e.Step]; c != nil {
		c.Inc()
	}
}

// watchProvider times the requests to a provider, and logs and counts what is left out
// of its answers.
func (m *metrics) watchProvider(c connector.Config, t *tracing.Tracer, log *slog.Logger) watch {
	name := c.ID
	if name == "" {
		name = c.Name
	}
	for _, op := range providerOperations {
		for _, result := range providerResults {
			m.providers.WithLabelValues(name, op, result)
		}
	}
	for _, kind := range connector.NoticeKinds {
		m.leftOut.WithLabelValues(name, string(kind))
	}
	left := &notices{provider: name, log: log, count: func(k connector.NoticeKind) { m.leftOut.WithLabelValues(name, string(k)).Inc() }}
	blocked := &repeated{every: time.Minute}
	return func(ctx context.Context, operation string) (context.Context, func(error)) {
		began := time.Now()
		ctx = connector.WithNotices(ctx, left.hear)
		ctx, traced := t.Call(ctx, "provider", operation, attribute.String("mcp_forward_auth.provider", name))
		return ctx, func(err error) {
			result := providerResult(err)
			if result == "misconfigured" && blocked.due(began) {
				log.Error("an identity provider cannot be used until something is changed", "provider", name, "problem", err)
			}
			traced(result, result == "misconfigured" || result == "unavailable" || result == "error")
			m.providers.WithLabelValues(name, operation, result).Observe(time.Since(began).Seconds())
		}
	}
}

// repeated limits how often a recurring message is logged.
type repeated struct {
	every time.Duration
	mu    sync.Mutex
	last  time.Time
}

// due reports whether the message is due.
func (r *repeated) due(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && at.Sub(r.last) < r.every {
		return false
	}
	r.last = at
	return true
}

// watchResources begins to count for each of table's MCP servers, and exports
// whether its catalogue is known.
func (m *metrics) watchResources(table *resource.Table, known func(*resource.Resource) bool) {
	m.resources = map[*resource.Resource]*[forwardauth.NumReasons]atomic.Pointer[prometheus.Counter]{}
	for _, r := range table.All() {
		m.resources[r] = new([forwardauth.NumReasons]atomic.Pointer[prometheus.Counter])
	}
	m.make.own.MustRegister(&catalogueCollector{table, known, prometheus.NewDesc(
		"mcp_forward_auth_catalogue_known", "1 while a list of the MCP server's tools is known, even an older one; 0 while consent pages and the tool policy have none.",
		[]string{"resource"}, nil,
	)})
}

// catalogueCollector asks at each scrape, which shows lists that have become too old.
type catalogueCollector struct {
	table *resource.Table
	known func(*resource.Resource) bool
	desc  *prometheus.Desc
}

func (c *catalogueCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

func (c *catalogueCollector) Collect(out chan<- prometheus.Metric) {
	for _, r := range c.table.All() {
		v := 0.0
		if c.known(r) {
			v = 1
		}
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, v, r.URI)
	}
}

// watchGates exports what the gate watch knows.
func (m *metrics) watchGates(w *gatewatch.Watch) {
	m.make.own.MustRegister(&gateCollector{w, prometheus.NewDesc(
		"mcp_forward_auth_gate_state", "1 for the state of the gateway in front of each MCP server, as the gate watch sees it from outside: unknown, closed, open, foreign (guarded by something other than this service) or unreachable. No series while gateWatch is off.",
		[]string{"resource", "state"}, nil,
	)})
}

type gateCollector struct {
	watch *gatewatch.Watch
	desc  *prometheus.Desc
}

func (c *gateCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

func (c *gateCollector) Collect(out chan<- prometheus.Metric) {
	for _, g := range c.watch.Gates() {
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1, g.Resource.URI, string(g.State))
	}
}

// watchTokens exports how full the cache of verified tokens is.
func (m *metrics) watchTokens(held func() int) {
	m.make.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_token_cache_entries", Help: "Access tokens remembered as verified.",
	}, func() float64 { return float64(held()) })
}

// watchProofs exports how many DPoP proofs are remembered.
func (m *metrics) watchProofs(held func() int) {
	m.make.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_dpop_proofs_remembered", Help: "Remembered DPoP proofs of the last minutes; none of them can be used again at this replica.",
	}, func() float64 { return float64(held()) })
}

func (m *metrics) newsLost(error) { m.usesLost.Inc() }

func (m *metrics) denyList(entries int, err error) {
	m.denied.Set(float64(entries))
	m.denyBroken.Set(0)
	if err != nil {
		m.denyBroken.Set(1)
	}
}

func (m *metrics) apiKeys(inForce int, err error) {
	m.heldKeys.Set(float64(inForce))
	m.keysBroken.Set(0)
	if err != nil {
		m.keysBroken.Set(1)
	}
}

func (m *metrics) usersFile(provider string, err error) {
	broken := 0.0
	if err != nil {
		broken = 1
	}
	m.usersBroken.WithLabelValues(provider).Set(broken)
}

func (m *metrics) keyGenerated(took time.Duration) { m.keys.Observe(took.Seconds()) }

func (m *metrics) guardCall(op guard.Operation, took time.Duration, err error) {
	m.guardCalls[op][err != nil].Observe(took.Seconds())
}

func (m *metrics) catalogueFetch(result string, took time.Duration) {
	m.catalogues.WithLabelValues(result).Observe(took.Seconds())
}

// watchKeys exports the age of the signing key: it never exceeds the rotation
// period while rotation works.
func (m *metrics) watchKeys(keys *keyset.Set, now func() time.Time) {
	m.make.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_signing_key_age_seconds", Help: "Time since the period of the key in use began.",
	}, func() float64 { return now().Sub(keys.Signing().Start).Seconds() })
}

// instrument counts and times requests by the pattern that served them.
func (m *metrics) instrument(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &web.StatusRecorder{ResponseWriter: w, Status: http.StatusOK}
		mux.ServeHTTP(rec, r)
		route := r.Pattern // set by the multiplexer; a closed set
		m.requests.WithLabelValues(route, strconv.Itoa(rec.Status/100)+"xx").Inc()
		m.durations.WithLabelValues(route).Observe(time.Since(began).Seconds())
	})
}
