package server

import (
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// readiness is the state of /readyz: ready once everything is built and listening, and
// no longer ready while draining. A replica whose shared guard is down stays ready,
// because otherwise none would be left, and so does one that sees an open gate. /readyz
// then says what does not work.
type readiness struct {
	ready    atomic.Bool
	degraded func() []string // what does not work
}

func (r *readiness) set(ready bool) { r.ready.Store(ready) }

func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if !r.ready.Load() {
		web.JSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready"})
		return
	}
	if reasons := r.degraded(); len(reasons) > 0 {
		web.JSON(w, http.StatusOK, map[string]string{"status": "degraded", "reason": strings.Join(reasons, "; ")})
		return
	}
	web.JSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// manage makes the handler of the management listener.
func (b *builder) manage() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(b.metrics.make.Gatherer(), promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		web.JSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.Handle("GET /readyz", &b.ready)
	if b.recent != nil {
		b.recent.Register(mux)
	}
	if e := b.operators(); e != nil {
		e.Register(mux)
	}
	return web.Recover(b.log, mux)
}
