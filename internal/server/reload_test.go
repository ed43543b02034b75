package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// denyJane is a rule that leaves the person of the tests nothing.
func denyJane(f *config.File) {
	f.Policy.Rules = []rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Emails: []string{servertest.Email}}}
}

// Keys, sign-ins under way, what was revoked and what was used up go on; what the
// configuration says holds at the next request.
func TestReload(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	c, b := s.NewClient(t, servertest.Host, nil), s.NewBrowser()
	token, revoked := c.AccessToken(t, b), c.AccessToken(t, b)
	s.MustPass(t, servertest.Resource, token)
	form := url.Values{"token": {revoked}, "client_id": {c.ID}}
	s.Send(t, servertest.Request(t, http.MethodPost, servertest.Issuer(c.Host)+"/revoke", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	s.MustNotPass(t, servertest.Resource, revoked, "invalid_token")
	begun := c.Begin()
	page := b.Consent(t, begun.URL())
	used := c.Begin()
	code := used.Code(t, b)
	used.Exchange(t, code)
	_, before := s.Management(t, "/metrics")

	s.MustReload(servertest.Options{Edit: func(f *config.File) { f.Proxy.Hosts[0].DisplayName = "Renamed notes" }})

	s.MustPass(t, servertest.Resource, token)
	s.MustNotPass(t, servertest.Resource, revoked, "invalid_token")
	if a := used.Exchange(t, code); a.Status != http.StatusBadRequest {
		t.Errorf("a code that was redeemed before: %d %s", a.Status, a.Body)
	}
	answer := begun.Exchange(t, begun.Accept(t, b.Walk(t, b.Submit(t, page, "decision", "allow"), c.RedirectURI)))
	if answer.Status != http.StatusOK {
		t.Errorf("a sign-in that began before: %d %s", answer.Status, answer.Body)
	}
	if text := b.Consent(t, c.Begin().URL()).Text(); !strings.Contains(text, "Renamed notes") {
		t.Errorf("the page does not have the new name: %s", text)
	}
	_, after := s.Management(t, "/metrics")
	for _, name := range []string{`mcp_forward_auth_events_total{event="token.issued"}`, `mcp_forward_auth_decisions_total{dialect="nginx",reason="allowed"}`} {
		if was, is := metric(before, name), metric(after, name); was == "" || was == "0" || is < was {
			t.Errorf("%s was %q and is %q", name, was, is)
		}
	}

	s.MustReload(servertest.Options{Edit: denyJane})
	if a := s.Ask(t, servertest.Resource, token); a.Status == http.StatusOK {
		t.Error("what was decided under the rules before still holds")
	}
	s.MustReload(servertest.Options{})
	s.MustPass(t, servertest.Resource, c.AccessToken(t, b))
}

// metric returns the value of a series.
func metric(all, series string) string {
	_, rest, _ := strings.Cut("\n"+all, "\n"+series+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// What was used up stays so, whatever is reloaded.
func TestReloadKeepsLimits(t *testing.T) {
	t.Parallel()
	few := func(f *config.File) { f.Limits.Registrations = 1 }
	s := servertest.Start(t, servertest.Options{Edit: few})
	s.NewClient(t, servertest.Host, nil)
	s.MustReload(servertest.Options{Edit: servertest.Edits(few, denyJane)})
	if a := s.Register(t, servertest.Host, nil); a.Status != http.StatusTooManyRequests {
		t.Errorf("a second registration: %d %s", a.Status, a.Body)
	}
	s.MustReload(servertest.Options{})
	if a := s.Register(t, servertest.Host, nil); a.Status != http.StatusCreated {
		t.Errorf("with a higher limit: %d %s", a.Status, a.Body)
	}
}

// Neither memory nor goroutines grow with reloads.
func TestReloadsLeaveNothing(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	token := s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser())
	reload := func(times int) {
		for i := range times {
			o := servertest.Options{}
			if i%2 == 0 {
				o.Edit = func(f *config.File) {
					f.Proxy.Hosts = append(f.Proxy.Hosts, servertest.NewHost("other.example.com", s.MCPServer+"/mcp"))
				}
			}
			s.MustReload(o)
			s.MustPass(t, servertest.Resource, token)
		}
	}
	measure := func() (goroutines int, heap uint64) {
		for range 50 { // what ends needs a moment
			runtime.GC()
			time.Sleep(10 * time.Millisecond)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	reload(10)
	goroutines, heap := measure()
	reload(200)
	after, heapAfter := measure()
	t.Logf("goroutines %d and %d, heap %d KB and %d KB", goroutines, after, heap>>10, heapAfter>>10)
	if after > goroutines+20 {
		t.Errorf("%d goroutines before, %d after 200 reloads", goroutines, after)
	}
	if heapAfter > heap+2<<20 {
		t.Errorf("%d bytes before, %d after 200 reloads", heap, heapAfter)
	}
}

// Two hundred reloads under load fail no request, of gateways and of a served host,
// and a stream and a sign-in that began before go on.
func TestReloadsUnderLoad(t *testing.T) {
	events := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; r.Context().Err() == nil; i++ {
			fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/n%d\"}\n\n", i)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}))
	defer events.Close()
	defer events.CloseClientConnections()
	const host = "served.example.com"
	edit := func(i int) servertest.Options {
		return servertest.Options{Edit: func(f *config.File) {
			served := servertest.NewHost(host, events.URL+"/mcp")
			served.Serve.Enabled = true
			f.Proxy.Hosts = append(f.Proxy.Hosts, served)
			for n := range i % 5 {
				f.Proxy.Hosts = append(f.Proxy.Hosts, servertest.NewHost(fmt.Sprintf("team%d.example.com", n), events.URL+"/mcp"))
			}
		}}
	}
	s := servertest.Start(t, edit(0))
	b := s.NewBrowser()
	asked, there := s.NewClient(t, servertest.Host, nil), s.NewClient(t, host, nil)
	token, servedToken := asked.AccessToken(t, b), there.AccessToken(t, b)
	begun := asked.Begin()
	page := b.Consent(t, begun.URL())
	send := func(method string) (*http.Response, error) {
		req, err := http.NewRequest(method, "https://"+host+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err != nil {
			return nil, err
		}
		if method == http.MethodGet {
			req.Body, req.ContentLength = nil, 0
		}
		req.Header.Set("Authorization", "Bearer "+servedToken)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		return s.Do(req)
	}
	stream, err := send(http.MethodGet)
	if err != nil || stream.StatusCode != http.StatusOK {
		t.Fatalf("the stream: %v %v", stream, err)
	}
	defer stream.Body.Close()
	lines := bufio.NewScanner(stream.Body)

	var asks, failures atomic.Int64
	done := make(chan struct{})
	var all sync.WaitGroup
	loop := func(one func() (status int, err error)) {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				asks.Add(1)
				if status, err := one(); err != nil || status != http.StatusOK {
					failures.Add(1)
					t.Errorf("after %d requests: %d %v", asks.Load(), status, err)
					return
				}
			}
		})
	}
	loop(func() (int, error) {
		req, err := http.NewRequest(http.MethodGet, servertest.Issuer(servertest.Host)+"/authenticate", nil)
		if err != nil {
			return 0, err
		}
		req.Header.Set("X-Original-URL", servertest.Resource)
		req.Header.Set("X-Original-Method", http.MethodPost)
		req.Header.Set("Authorization", "Bearer "+token)
		answer, err := s.TrySend(req)
		if err != nil {
			return 0, err
		}
		return answer.Status, nil
	})
	loop(func() (int, error) {
		resp, err := send(http.MethodPost)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, err
	})
	for i := range 200 {
		s.MustReload(edit(i))
		for range 2 {
			if !lines.Scan() {
				t.Fatalf("the stream ended after %d reloads: %v", i, lines.Err())
			}
		}
	}
	close(done)
	all.Wait()
	t.Logf("%d requests, %d failed", asks.Load(), failures.Load())
	if answer := begun.Exchange(t, begun.Accept(t, b.Walk(t, b.Submit(t, page, "decision", "allow"), asked.RedirectURI))); answer.Status != http.StatusOK {
		t.Errorf("the sign-in: %d %s", answer.Status, answer.Body)
	}
	if asks.Load() < 400 {
		t.Errorf("only %d requests", asks.Load())
	}
}
