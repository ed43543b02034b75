package bridge

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
)

const benchInitialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`

// BenchmarkPipe is a call of a tool over the process's own pipes.
func BenchmarkPipe(b *testing.B) {
	s := Settings{Command: []string{os.Args[0]}, Env: []string{serverKind + "=good"}}
	if err := s.Check(); err != nil {
		b.Fatal(err)
	}
	c, err := startChild(&s, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = c.wait() }()
	defer c.end(s.Grace)
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
	for n := 2; b.Loop(); n++ {
		ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`, n))
	}
}

// BenchmarkBridge is the same call over HTTP through the bridge.
func BenchmarkBridge(b *testing.B) {
	x := startBridge(b, "good", nil)
	session := post(b, x.url, benchInitialize).Header.Get(sessionHeader)
	post(b, x.url, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, sessionHeader, session)
	for n := 2; b.Loop(); n++ {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, x.url, strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`, n)))
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
}
