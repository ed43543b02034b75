package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// sseServer speaks HTTP+SSE alone, at /sse, and answers a POST there as the
// servers of the field do.
func sseServer(refusal int) http.Handler {
	s := sdkServer(func(int) any { return []any{map[string]any{"name": "r", "tools": []string{"a"}}} }, 0, "a", "b")
	sse := mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s }, nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.RawQuery == "" {
			w.WriteHeader(refusal)
			return
		}
		sse.ServeHTTP(w, r)
	})
}

func TestFetchSSE(t *testing.T) {
	for _, refusal := range []int{400, 404, 405} {
		t.Run(fmt.Sprint("a server of HTTP+SSE that refuses a POST by ", refusal), func(t *testing.T) {
			rec, endpoint := serve(t, sseServer(refusal))
			var f Fetcher
			for range 2 {
				got, err := f.Fetch(t.Context(), endpoint+"/sse")
				if err != nil || !got.Declared || len(got.Tools) != 2 || fmt.Sprint(got.ScopesForTool("a")) != "[r]" {
					t.Fatalf("%v %+v", err, got)
				}
			}
			rec.mu.Lock()
			defer rec.mu.Unlock()
			refused := 0
			for _, r := range rec.requests {
				if r.Method == http.MethodPost && r.URL.RawQuery == "" {
					refused++
				}
				if r.Header.Get("Authorization") != "" {
					t.Error("a credential")
				}
			}
			if refused > 3 { // discovery, its fallback, and the older handshake, once
				t.Errorf("%d requests in vain: it is not remembered", refused)
			}
		})
	}
	t.Run("UP-12 the server names another origin", func(t *testing.T) {
		for _, elsewhere := range []string{"http://169.254.169.254/latest", "//evil.example/x", "https://"} {
			_, endpoint := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.WriteHeader(405)
					return
				}
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprintf(w, "event: endpoint\ndata: %s\n\n", elsewhere)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}))
			_, err := new(Fetcher).Fetch(t.Context(), endpoint+"/sse")
			if e, ok := errors.AsType[*Error](err); !ok || e.Result != ResultRedirect {
				t.Errorf("%s: %v", elsewhere, err)
			}
		}
	})
	t.Run("a stream that says nothing", func(t *testing.T) {
		_, endpoint := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(404)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := new(Fetcher).Fetch(ctx, endpoint+"/sse"); err == nil {
			t.Error("a catalogue of nothing")
		}
	})
}

// Of many fetches that read much, only a few hold much at a time.
func TestLongListsWaitForOneAnother(t *testing.T) {
	long := `{"name":"long","inputSchema":{"type":"object"},"x":"` + strings.Repeat("x", smallBytes) + `"}`
	release := make(chan struct{})
	_, endpoint := serve(t, modernServer(func(w http.ResponseWriter, id, _ string) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","tools":[%s,`, id, long)
		w.(http.Flusher).Flush()
		<-release
		fmt.Fprintf(w, `%s]}}`, tool("a"))
	}))
	f := Fetcher{}
	f.once.Do(f.init)
	counted := f.large
	var all sync.WaitGroup
	const fetches = largeFetches + 2
	failed := make(chan error, fetches)
	for range fetches {
		all.Go(func() {
			if _, err := f.Fetch(t.Context(), endpoint); err != nil {
				failed <- err
			}
		})
	}
	for len(counted) < largeFetches {
		time.Sleep(time.Millisecond)
	}
	close(release)
	all.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if cap(counted) != largeFetches || len(counted) != 0 {
		t.Errorf("%d of %d places are still taken; want %v, 0", len(counted), cap(counted), largeFetches)
	}
}
