package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authorize"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/breaker"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// load limits how many requests to routes that may wait are handled at the same time.
// One more is refused at once instead of being queued: queues make everything slow, and
// /authenticate, which this does not limit, must get the processor. Requests that begin
// a sign-in get three quarters, so that sign-ins in progress can finish.
type load struct {
	limit    int // 0 for none
	pages    *page.Pages
	log      *slog.Logger
	now      func() time.Time
	inFlight *atomic.Int64              // of all services of the process
	warned   atomic.Int64               // Unix seconds
	shed     map[string]atomicIncrement // by route
}

type atomicIncrement interface{ Inc() }

// watchLoad makes the metrics of l, which bounds those of routes that wait.
func (m *metrics) watchLoad(l *load, routes []web.Route) {
	shed := m.make.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_forward_auth_shed_requests_total", Help: "Requests answered 503 because limits.requestsInFlight was reached, by route pattern.",
	}, []string{"route"})
	l.shed = map[string]atomicIncrement{}
	for _, r := range routes {
		if r.Waits {
			l.shed[r.Pattern] = shed.WithLabelValues(r.Pattern)
		}
	}
	m.make.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_requests_in_flight", Help: "Requests in progress that count for limits.requestsInFlight.",
	}, func() float64 { return float64(l.inFlight.Load()) })
}

// before admits requests to a route that waits on their way to next.
func (l *load) before(route web.Route, next web.HostHandler) web.HostHandler {
	if !route.Waits || l.limit == 0 {
		return next
	}
	limit := l.limit
	if route.Begins {
		limit -= limit / 4
	}
	return func(w http.ResponseWriter, r *http.Request, host *resource.Host) {
		// Read the form first, so that a slow sender does not hold a place.
		r.Body = readAhead(r.Body)
		defer l.inFlight.Add(-1)
		if l.inFlight.Add(1) > int64(limit) {
			l.refuse(w, r, route.Person)
			return
		}
		next(w, r.WithContext(web.WithPlace(r.Context(), place{l.inFlight})), host)
	}
}

// place is that of one request in load.
type place struct{ inFlight *atomic.Int64 }

// Leave implements web.Place.
func (p place) Leave() { p.inFlight.Add(-1) }

// Return implements web.Place.
func (p place) Return() { p.inFlight.Add(1) }

// refuse answers 503 (RFC 9110, section 15.6.4). It writes no audit entry, which would
// add to the load.
func (l *load) refuse(w http.ResponseWriter, r *http.Request, person bool) {
	l.shed[r.Pattern].Inc()
	const every = 10 // seconds
	if now, last := l.now().Unix(), l.warned.Load(); now >= last+every && l.warned.CompareAndSwap(last, now) {
		l.log.Warn("too many requests at once: some get 503", "limit", l.limit, "route", r.Pattern)
	}
	busy := &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "too many requests at once; try again in a moment"}
	if person {
		authorize.Busy(l.pages, w, r, busy)
	} else {
		web.Error(w, busy)
	}
}

// readAhead reads as much of a body as a form may have. The next reader gets this
// again, and the rest or the error.
func readAhead(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	var start bytes.Buffer
	_, err := io.CopyN(&start, body, web.MaxFormBytes+1)
	rest := io.Reader(body)
	if err != nil {
		rest = failed{err}
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&start, rest), body}
}

// failed is a reader that has come to its end, good or bad.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// trusting returns transport, or http.DefaultTransport for nil, trusting the
// certificates of these authorities alone; none leaves it as it is.
func trusting(transport http.RoundTripper, authorities []byte) http.RoundTripper {
	if transport == nil {
		transport = http.DefaultTransport // which goes through HTTPS_PROXY
	}
	t, ok := transport.(*http.Transport)
	if len(authorities) == 0 || !ok {
		return transport
	}
	t = t.Clone()
	t.TLSClientConfig = trust(authorities)
	return t
}

// trust returns TLS settings that trust these authorities alone.
func trust(authorities []byte) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authorities) // config has checked it
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

// guarded returns a function that makes a client for each provider, which limits
// requests to a provider that fails.
func guarded(client *http.Client, concurrent int, m *metrics, log *slog.Logger) func(connector.Config) *http.Client {
	return func(p connector.Config) *http.Client {
		c := http.Client{}
		if client != nil {
			c = *client
		}
		c.Transport = breaker.New(trusting(c.Transport, p.Settings.Authorities()), concurrent, func(open bool) {
			if open {
				m.circuits.Inc()
				log.Error("an identity provider does not answer: sign-ins and refreshes with it fail at once until it does", "provider", p.ID)
			} else {
				m.circuits.Dec()
				log.Info("an identity provider answers again", "provider", p.ID)
			}
		})
		return &c
	}
}
