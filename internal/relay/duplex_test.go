package relay_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
)

// A tool call whose answer is an event stream comes back whole: the server may
// begin to answer before it has read the request to its end. A slow machine makes
// fewer calls.
func TestEventStreamsAreWhole(t *testing.T) {
	t.Parallel()
	const calls, atOnce = 10_000, 32
	eager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "event: message\ndata: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "event: message\ndata: the end, %d\n\n", n)
	}))
	t.Cleanup(eager.Close)
	s := serve(t, echo, func(h *config.HostFile) { h.Endpoint = eager.URL + "/mcp" })
	body := strings.Replace(look, "{}", `{"text":"`+strings.Repeat("x", 1000)+`"}`, 1)
	want := fmt.Sprintf("the end, %d\n\n", len(body))
	var left, cut atomic.Int64
	var first atomic.Value
	left.Store(calls)
	until := time.Now().Add(5 * time.Second)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for left.Add(-1) >= 0 && time.Now().Before(until) {
				a, err := s.TrySend(s.request(t, http.MethodPost, "/mcp", body))
				if err == nil && (a.Status != http.StatusOK || !strings.HasSuffix(a.Body, want)) {
					err = fmt.Errorf("%d %.200q", a.Status, a.Body)
				}
				if err != nil {
					cut.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	all.Wait()
	if n := cut.Load(); n > 0 {
		t.Errorf("%d of %d calls are cut: %v", n, calls-max(left.Load(), 0), first.Load())
	}
}
