package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestBridgeUsage(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no command":      {nil, "name the command after --"},
		"open to all":     {[]string{"--listen", "0.0.0.0:0", "--", "cat"}, "--open"},
		"all at once":     {[]string{"--share", "all", "--dir", "/no/such", "--", "no-such-program"}, "--dir /no/such"},
		"another address": {[]string{"--listen", "nowhere", "--", "cat"}, "bridge: listen"},
	} {
		var out strings.Builder
		err := run(t.Context(), append([]string{"bridge"}, tt.args...), streams{strings.NewReader(""), &out, &out})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// It serves until it is told to stop, and then ends with nothing under way.
func TestBridgeServes(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"bridge", "--listen", "127.0.0.1:0", "--start-timeout", "1s", "--grace", "100ms", "--", "cat"}, streams{strings.NewReader(""), io.Discard, w})
		w.Close()
	}()
	address := ""
	lines := bufio.NewScanner(r)
	for address == "" && lines.Scan() {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "the bridge listens" {
			address = line.Address
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/mcp": 404, "/else": 404} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not stop")
	}
}
