package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A tool call whose answer is an event stream comes back whole: the server may
// begin to answer before it has read the request to its end, and while the
// gateway still sends it. A slow machine makes fewer calls.
func TestGatewayRelaysEventStreamsWhole(t *testing.T) {
	const calls, atOnce = 10_000, 32
	service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer service.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "event: message\ndata: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "event: message\ndata: the end, %d\n\n", n)
	}))
	defer server.Close()
	front := httptest.NewServer(NewGateway(parsed(t, service.URL), parsed(t, server.URL), nil))
	defer front.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	defer client.CloseIdleConnections()

	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"text":"` + strings.Repeat("x", 1000) + `"}}}`
	var left, cut atomic.Int64
	var first atomic.Value
	left.Store(calls)
	until := time.Now().Add(10 * time.Second)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for left.Add(-1) >= 0 && time.Now().Before(until) {
				if err := whole(t.Context(), client, front.URL+"/mcp", body); err != nil {
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

// whole makes one call and says what is wrong with its answer.
func whole(ctx context.Context, client *http.Client, address, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("the end, %d\n\n", len(body)); resp.StatusCode != http.StatusOK || !strings.HasSuffix(string(text), want) {
		return fmt.Errorf("%d %.200q", resp.StatusCode, text)
	}
	return nil
}

func parsed(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
