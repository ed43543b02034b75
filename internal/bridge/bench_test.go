package bridge

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const benchInitialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`

// BenchmarkBesidePipe is a call of a tool over the process's own pipes, over HTTP
// without a process, and over HTTP through the bridge, in turn, so that all three have
// the same machine. It reports the medians, and what the bridge adds to the pipes.
func BenchmarkBesidePipe(b *testing.B) {
	calls := map[string]func(call string){"pipe": overPipe(b), "http": overHTTP(b), "bridge": overBridge(b)}
	took := map[string][]float64{}
	for n := 2; b.Loop(); n++ {
		call := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`, n)
		for name, ask := range calls {
			began := time.Now()
			ask(call)
			took[name] = append(took[name], float64(time.Since(began).Nanoseconds())/1e3)
		}
	}
	median := map[string]float64{}
	for name, all := range took {
		slices.Sort(all)
		median[name] = all[len(all)/2]
		b.ReportMetric(median[name], name+"-µs")
	}
	b.ReportMetric(median["bridge"]-median["pipe"], "added-µs")
	b.ReportMetric(0, "ns/op")
}

func overPipe(b *testing.B) func(call string) {
	s := Settings{Command: []string{os.Args[0]}, Env: []string{serverKind + "=good"}}
	if err := s.Check(); err != nil {
		b.Fatal(err)
	}
	c, err := startChild(&s, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = c.wait() }()
	b.Cleanup(func() { c.end(s.Grace) })
	out := bufio.NewReader(c.out)
	ask := func(line string) {
		if err := c.write([]byte(line + "\n")); err != nil {
			b.Fatal(err)
		}
		if _, err := out.ReadString('\n'); err != nil {
			b.Fatal(err)
		}
	}
	ask(benchInitialize)
	_ = c.write([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"))
	return ask
}

// overHTTP is the least that a server of HTTP costs: it reads the call and answers.
func overHTTP(b *testing.B) func(call string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}))
	b.Cleanup(s.Close)
	return func(call string) { askOver(b, s.URL, call, "") }
}

func overBridge(b *testing.B) func(call string) {
	x := startBridge(b, "good", nil)
	session := post(b, x.url, benchInitialize).Header.Get(sessionHeader)
	post(b, x.url, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, sessionHeader, session)
	return func(call string) { askOver(b, x.url, call, session) }
}

func askOver(b *testing.B, url, call, session string) {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(call))
	if err != nil {
		b.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, sessionHeader: {session}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatal(resp, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}
