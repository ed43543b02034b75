package relay_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A stream goes on while an hour passes and the signing keys change under it.
// rotation_short_test.go has the same with many rotations in real time.
func TestStreamOutlivesKeys(t *testing.T) {
	t.Parallel()
	streamOverRotations(t, 10*time.Minute, time.Hour, 1, func(s *servertest.Service) { s.Clock.Advance(time.Hour) })
}

// streamOverRotations opens a stream and has the keys change so many times, each
// after pass; tokens have that life. In between events arrive, and a client with a new token is served.
func streamOverRotations(t *testing.T, rotation, life time.Duration, times int, pass func(*servertest.Service)) {
	t.Helper()
	next := make(chan string)
	u := startUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			echo(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		for {
			select {
			case e := <-next:
				fmt.Fprintf(w, "data: %s\n\n", e)
				http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	service := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		host := &f.Proxy.Hosts[0]
		host.Endpoint, host.Serve.Enabled = u.URL+"/mcp", true
		host.Scopes = []rule.Scope{{Name: "use", Tools: []string{"look"}}}
		f.Keys.Rotation, f.Tokens.AccessTokenLifetime = rotation, life
	}})
	c, browser := service.NewClient(t, servertest.Host, nil), service.NewBrowser()
	s := &served{service, u, c.AccessToken(t, browser)}
	client := s.Client()
	client.Timeout = 0 // which is for the whole answer
	resp, err := client.Do(s.request(t, http.MethodGet, "/mcp", ""))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err, resp)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	arrives := func(i int) {
		t.Helper()
		next <- fmt.Sprintf(`{"event":%d}`, i)
		if !lines.Scan() || lines.Text() != fmt.Sprintf(`data: {"event":%d}`, i) || !lines.Scan() {
			t.Fatalf("event %d: %q %v", i, lines.Text(), lines.Err())
		}
	}
	keys := func() string { return s.Get(t, servertest.Issuer(servertest.Host)+"/openid/v1/jwks").Body }
	for i := range times {
		before := keys()
		arrives(i)
		pass(service)
		for end := time.Now().Add(45 * time.Second); keys() == before; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the keys do not change")
			}
		}
		s.token = c.AccessToken(t, browser)
		if a := s.post(t, strings.Replace(look, "1", "2", 1)); a.Status != http.StatusOK {
			t.Errorf("a call with a new token: status %d, want %v: %s", a.Status, http.StatusOK, a.Body)
		}
	}
	arrives(times)
}
