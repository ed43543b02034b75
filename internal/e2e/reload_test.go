//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"sigs.k8s.io/yaml"
)

// workers do one kind of thing after another until the reloads are over.
type workers struct {
	stop chan struct{}
	all  sync.WaitGroup
	of   map[string]*atomic.Int64 // how often each was done
}

// begin has one more do something. A failure ends it, and the test has failed.
func (w *workers) begin(t *testing.T, what string, once func() error) {
	if w.of[what] == nil {
		w.of[what] = new(atomic.Int64)
	}
	done := w.of[what]
	w.all.Go(func() {
		for {
			select {
			case <-w.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if err := once(); err != nil {
				t.Errorf("%s, after %d that went well: %v", what, done.Load(), err)
				return
			}
			done.Add(1)
		}
	})
}

// reloads is how often TestReloadUnderLoad changes the configuration.
func reloads(t *testing.T) int {
	text := os.Getenv("E2E_RELOADS")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("E2E_RELOADS is %q, want a number", text)
	}
	return n
}

// TestReloadUnderLoad changes the configuration again and again, E2E_RELOADS times,
// while clients of every kind go through nginx. No request of theirs may fail, and
// what began before the first reload ends well after the last.
func TestReloadUnderLoad(t *testing.T) {
	st := newStack(t, setup{provider: "oidc", change: func(file map[string]any) {
		file["limits"] = map[string]any{"registrations": 100_000}
	}})
	times := reloads(t)
	g, a := signIn(t, st.statelessURL, alice)
	reading := alice
	half, start := a.client.begin(&reading)
	page, resp, err := reading.fetch(t, http.MethodGet, start, "", "")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("consent page: %v %v", err, resp)
	}
	long := openStream(t, st.statelessURL+"/probe/events?seconds=600", g)

	w := &workers{stop: make(chan struct{}), of: map[string]*atomic.Int64{}}
	st.load(t, w, g)
	took := make([]time.Duration, times)
	for i := range times {
		took[i] = st.reload(t, i)
	}
	close(w.stop)
	w.all.Wait()

	if _, err := long.Read(make([]byte, 1)); err != nil {
		t.Errorf("a stream that was open all the time: %v", err)
	}
	f := reading.firstForm(page)
	f.action = origin(st.statelessURL) + f.action
	if half.answer, err = reading.submit(t, f, origin(st.statelessURL), redirectURI); err != nil {
		t.Fatalf("the consent page of before: %v", err)
	}
	mustEqual(t, "a sign-in whose consent page was open all the time", half.redeem(t).status, http.StatusOK)
	total := int64(0)
	for what, n := range w.of {
		if n.Load() < 1 {
			t.Errorf("%s: done %d times", what, n.Load())
		}
		total += n.Load()
		t.Logf("%s: %d", what, n.Load())
	}
	t.Logf("%d reloads, %d things done in them; a reload took %s at most", times, total, longest(took))
}

func longest(all []time.Duration) (most time.Duration) {
	for _, d := range all {
		most = max(most, d)
	}
	return most.Round(time.Millisecond)
}

// load has clients of every kind at work.
func (st *stack) load(t *testing.T, w *workers, g grant) {
	for range 2 {
		stateless := connectGoSDK(t, st.statelessURL, modern, alice)
		stateful := connectGoSDK(t, st.statefulURL, legacy, alice) // which keeps a stream open
		for _, session := range []*mcp.ClientSession{stateless, stateful} {
			w.begin(t, "calls of Go SDK sessions", func() error {
				_, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read_notes"})
				return err
			})
		}
	}
	w.begin(t, "streams read to their end", func() error {
		body := openStream(t, st.statelessURL+"/probe/events", g)
		defer body.Close()
		text, err := io.ReadAll(body)
		if n := strings.Count(string(text), "data: "); err == nil && n != eventCount {
			err = fmt.Errorf("%d events of %d", n, eventCount)
		}
		return err
	})
	w.begin(t, "requests without a token", func() error {
		resp, _ := do(t, http.MethodPost, st.statelessURL, strings.NewReader("{}"), "Content-Type", "application/json")
		return wanted("a request without a token", resp.StatusCode, http.StatusUnauthorized)
	})
	for _, mcpURL := range []string{st.statelessURL, st.statefulURL} {
		w.begin(t, "sign-ins", func() error {
			g, _ := signIn(t, mcpURL, alice)
			return wanted("the sign-in", g.status, http.StatusOK)
		})
	}
	held, a := signIn(t, st.statelessURL, alice)
	w.begin(t, "refreshes", func() error {
		held = a.client.refresh(t, held.RefreshToken)
		return wanted("the refresh", held.status, http.StatusOK)
	})
}

func wanted(what string, status, want int) error {
	if status != want {
		return fmt.Errorf("%s: %d instead of %d", what, status, want)
	}
	return nil
}

// openStream opens a stream of the MCP server and reads its first byte.
func openStream(t *testing.T, url string, g grant) io.ReadCloser {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.AccessToken)
	resp, err := new(http.Client).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		t.Fatalf("a stream: %s", resp.Status)
	}
	return resp.Body
}

// reload puts configuration n in force, which is another than n-1, and returns how long
// that took.
func (st *stack) reload(t *testing.T, n int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(st.config)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	hosts := file["proxy"].(map[string]any)["hosts"].([]any)[:2]
	hosts[0].(map[string]any)["displayName"] = fmt.Sprintf("Notes %d", n)
	if n%2 == 0 {
		hosts = append(hosts, map[string]any{"host": "team.example.com", "endpoint": st.stateless.direct.URL + "/mcp"})
	}
	file["proxy"].(map[string]any)["hosts"] = hosts
	if text, err = yaml.Marshal(file); err != nil {
		t.Fatal(err)
	}
	before, start := st.loaded(t), time.Now()
	// As editors and Kubernetes do: the file is there, whole, or not yet.
	if err := os.WriteFile(st.config+".next", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(st.config+".next", st.config); err != nil {
		t.Fatal(err)
	}
	if err := st.service.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for st.loaded(t) == before {
		if time.Since(start) > time.Minute {
			t.Fatalf("configuration %d is not in force:\n%s", n, tail(st.logs(), 2<<10))
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start)
}

// loaded is how often the configuration was read again.
func (st *stack) loaded(t *testing.T) string {
	t.Helper()
	_, text := do(t, http.MethodGet, "http://"+st.managementAddress+"/metrics", nil)
	_, rest, _ := strings.Cut(string(text), `mcp_forward_auth_events_total{event="config.loaded"} `)
	value, _, _ := strings.Cut(rest, "\n")
	return value
}
