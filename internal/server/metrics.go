package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
)

// metrics are the Prometheus metrics. Every label value comes from a closed set
// of ours: no stranger can make a series.
type metrics struct {
	registry   *prometheus.Registry
	decisions  [][]prometheus.Counter // by forwardauth.Dialect and Reason
	events     *prometheus.CounterVec
	requests   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	catalogues *prometheus.HistogramVec
	keys       prometheus.Histogram
	guardCalls map[guard.Operation]map[bool]prometheus.Observer // by whether it failed
	guardUp    prometheus.Gauge
	denied     prometheus.Gauge
	denyBroken prometheus.Gauge
	limited    map[string]prometheus.Counter // by audit reason
}

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mcp_forward_auth_events_total", Help: "Audit events by kind.",
		}, []string{"event"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mcp_forward_auth_http_requests_total", Help: "Requests to the protocol listener other than forward auth, by route pattern and status class.",
		}, []string{"route", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mcp_forward_auth_http_request_duration_seconds", Help: "Time to answer requests other than forward auth, by route pattern.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10},
		}, []string{"route"}),
		catalogues: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mcp_forward_auth_catalogue_fetch_duration_seconds", Help: "Time to list an MCP server's tools, by result.",
			Buckets: []float64{.01, .05, .25, 1, 5, 10},
		}, []string{"result"}),
		keys: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mcp_forward_auth_signing_key_generation_seconds", Help: "Time to make a signing key.",
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	m.denied = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_deny_list_entries", Help: "Entries of the operator's deny-list that are in force.",
	})
	m.denyBroken = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_deny_list_broken", Help: "1 while the deny-list file cannot be read or has a mistake, so that an older content is in force.",
	})
	m.guardUp = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_guard_up", Help: "0 while the guard's shared back end does not answer, so that sign-ins and refreshes are refused; else 1.",
	})
	m.guardUp.Set(1)
	guardCalls := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "mcp_forward_auth_guard_call_duration_seconds", Help: "Time of each call of the guard's shared back end, by operation and result.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .1, .5, 2.5},
	}, []string{"operation", "result"})
	m.guardCalls = map[guard.Operation]map[bool]prometheus.Observer{}
	for _, op := range guard.Operations {
		m.guardCalls[op] = map[bool]prometheus.Observer{
			false: guardCalls.WithLabelValues(string(op), "ok"), true: guardCalls.WithLabelValues(string(op), "error"),
		}
	}
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_decisions_total", Help: "Forward-auth decisions by gateway dialect and reason.",
	}, []string{"dialect", "reason"})
	for _, d := range forwardauth.Dialects() {
		var byReason []prometheus.Counter
		for _, r := range forwardauth.Reasons() {
			byReason = append(byReason, decisions.WithLabelValues(d.String(), r.String()))
		}
		m.decisions = append(m.decisions, byReason)
	}
	limited := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_limited_requests_total", Help: "Requests answered 429 because a limit was reached, by audit reason.",
	}, []string{"reason"})
	m.limited = map[string]prometheus.Counter{}
	for _, r := range limitReasons {
		m.limited[r] = limited.WithLabelValues(r)
	}
	for _, e := range audit.Events {
		m.events.WithLabelValues(string(e))
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	m.registry.MustRegister(
		decisions, limited, m.events, m.requests, m.durations, m.catalogues, m.keys, m.denied, m.denyBroken, guardCalls, m.guardUp, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func (m *metrics) decision(r forwardauth.Reason, d forwardauth.Dialect) { m.decisions[d][r].Inc() }

func (m *metrics) event(e audit.Event, reason string) {
	m.events.WithLabelValues(string(e)).Inc()
	if c := m.limited[reason]; c != nil {
		c.Inc()
	}
}

func (m *metrics) denyList(entries int, err error) {
	m.denied.Set(float64(entries))
	m.denyBroken.Set(0)
	if err != nil {
		m.denyBroken.Set(1)
	}
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
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_signing_key_age_seconds", Help: "Time since the period of the key in use began.",
	}, func() float64 { return now().Sub(keys.Signing().Start).Seconds() }))
}

// instrument counts and times requests by the pattern that served them.
func (m *metrics) instrument(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		mux.ServeHTTP(rec, r)
		route := r.Pattern // set by the multiplexer; a closed set
		m.requests.WithLabelValues(route, strconv.Itoa(rec.status/100)+"xx").Inc()
		m.durations.WithLabelValues(route).Observe(time.Since(began).Seconds())
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
