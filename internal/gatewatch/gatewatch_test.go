package gatewatch

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// mistakes are ways to open a gate without meaning to. Each has the state that
// it must turn to.
var mistakes = map[string]struct {
	make func(*site)
	want State
}{
	"a conflicting policy took the place of this one": {func(s *site) { s.ask = yes }, Open},
	"a route beside, for every host":                  {func(s *site) { s.past = func(r *http.Request) bool { return !s.serves(r.Host) } }, Open},
	"a route beside, for a wildcard host": {func(s *site) {
		s.past = func(r *http.Request) bool {
			return strings.HasSuffix(nameOf(r.Host), ".example.com") && !s.serves(r.Host)
		}
	}, Open},
	"a route beside, for a longer prefix of text": {func(s *site) {
		s.past = func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/mcp") && !s.ours(r.URL.Path) }
	}, Open},
	"a host with another port":        {func(s *site) { s.past = func(r *http.Request) bool { return strings.Contains(r.Host, ":") } }, Open},
	"a host with a dot at its end":    {func(s *site) { s.past = func(r *http.Request) bool { return strings.HasSuffix(r.Host, ".") } }, Open},
	"a path in another case":          {func(s *site) { s.past = func(r *http.Request) bool { return r.URL.Path == "/MCP" } }, Open},
	"a path with an escaped letter":   {func(s *site) { s.past = func(r *http.Request) bool { return r.URL.EscapedPath() == "/%6dcp" } }, Open},
	"no middleware on the GET router": {func(s *site) { s.past = func(r *http.Request) bool { return r.Method == http.MethodGet } }, Open},
	"no middleware on the DELETE router": {func(s *site) {
		s.past = func(r *http.Request) bool { return r.Method == http.MethodDelete }
	}, Open},
	"no middleware on the router of what is below": {func(s *site) { s.past = func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/mcp/") } }, Open},
	"the annotation removed, before a server of its own path": {func(s *site) {
		s.ask, s.server = yes, strictServer
	}, Open},
	"the Service pointed past the gateway": {func(s *site) { s.past = func(*http.Request) bool { return true } }, Open},
	"failure mode open, and the service away": {func(s *site) {
		s.ask = func(_ http.ResponseWriter, r *http.Request) bool { time.Sleep(200 * time.Millisecond); return true }
	}, Open},
	"a public path found anywhere in the path": {func(s *site) {
		s.past = func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/.well-known/") && s.ours(r.URL.Path) }
	}, Open},
	"a public path found in the query": {func(s *site) {
		s.past = func(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "/callback") }
	}, Open},
	"a public path found at the end": {func(s *site) { s.past = func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/token") } }, Open},
	"any token is good enough":       {func(s *site) { s.ask = unlessAuthorization }, Open},
	"auth-url answered by something that says yes": {func(s *site) {
		s.ask = yes
		s.server = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotAcceptable) }
	}, Open},
	"auth-url answered by another authority": {func(s *site) { s.ask = basic }, Foreign},
	"auth-url answered by a sign-in page":    {func(s *site) { s.ask = redirect }, Foreign},
	"auth-url answered for another host": {func(s *site) {
		s.ask = func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="https://other.example.com/.well-known/oauth-protected-resource/mcp"`)
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
	}, Foreign},
}

func yes(http.ResponseWriter, *http.Request) bool { return true }

func unlessAuthorization(w http.ResponseWriter, r *http.Request) bool {
	return r.Header.Get("Authorization") != "" || service(w, r)
}

func basic(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("WWW-Authenticate", `Basic realm="staff"`)
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

func redirect(w http.ResponseWriter, r *http.Request) bool {
	http.Redirect(w, r, "https://login.example.com/", http.StatusFound)
	return false
}

// Every mistake is seen within two minutes, whenever it is made, and is told in
// one line; so is its end.
func TestMistakesAreSeen(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(mistakes)) {
		mistake := mistakes[name]
		t.Run(name, func(t *testing.T) {
			for range 4 {
				synctest.Test(t, func(t *testing.T) { seenInTime(t, mistake.make, mistake.want) })
			}
		})
	}
}

func seenInTime(t *testing.T, mistake func(*site), want State) {
	g := &gateway{front: good().ServeHTTP}
	w, log := begin(t, g, oneServer(t))
	time.Sleep(5*time.Minute + rand.N(time.Minute))
	if got := state(t, w); got != Closed {
		t.Fatalf("%s before anything happened: %q", got, log.take())
	}
	if lines := log.take(); len(lines) != 1 || !strings.Contains(lines[0], "level=INFO") {
		t.Errorf("not one line about a closed gate: %q", lines)
	}
	broken := good()
	mistake(broken)
	g.set(broken.ServeHTTP)
	time.Sleep(2 * time.Minute)
	if got := state(t, w); got != want {
		t.Fatalf("%s two minutes later, want %s", got, want)
	}
	time.Sleep(15 * time.Minute)
	if lines := log.take(); len(lines) != 1 || !strings.Contains(lines[0], "level=ERROR") || !strings.Contains(lines[0], "https://mcp.example.com/mcp") {
		t.Errorf("not one line about it: %q", lines)
	}
	if said := strings.Join(w.Trouble(), "\n"); !strings.Contains(said, "https://mcp.example.com/mcp "+string(want)) {
		t.Errorf("told as %q", said)
	}
	// What can no more be seen is no better for it.
	g.set(nil)
	time.Sleep(15 * time.Minute)
	if got := state(t, w); got != want {
		t.Errorf("%s while the network is away, want %s", got, want)
	}
	g.set(good().ServeHTTP)
	time.Sleep(5 * time.Minute)
	if got := state(t, w); got != Closed || len(w.Trouble()) != 0 {
		t.Errorf("%s after it was mended", got)
	}
}

// A week in which gateways and the service restart, are slow or limit requests
// gives one line: the gate is closed.
func TestAnOrdinaryWeekIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{front: good().ServeHTTP}
		w, log := begin(t, g, oneServer(t))
		time.Sleep(5 * time.Minute)
		events := ordinary()
		for end := time.Now().Add(7 * 24 * time.Hour); time.Now().Before(end); {
			for _, name := range slices.Sorted(maps.Keys(events)) {
				g.set(events[name].front)
				time.Sleep(events[name].lasts)
				g.set(good().ServeHTTP)
				if got := state(t, w); got != Closed {
					t.Fatalf("%s during: %s", got, name)
				}
				time.Sleep(20*time.Minute + rand.N(10*time.Minute))
			}
		}
		if lines := log.take(); len(lines) != 1 || !strings.Contains(lines[0], "the gate is closed") {
			t.Errorf("%d lines: %q", len(lines), lines)
		}
		if n := g.asked.Load(); n < 7*24*60*10 {
			t.Errorf("only %d questions in a week", n)
		}
	})
}

type event struct {
	front http.HandlerFunc
	lasts time.Duration
}

// ordinary is what happens to gates that are well.
func ordinary() map[string]event {
	refuses := func(status int) http.HandlerFunc {
		s := good()
		s.ask = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return false }
		return s.ServeHTTP
	}
	slow := func(d time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(d):
				good().ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		}
	}
	rollout := func(w http.ResponseWriter, r *http.Request) {
		if rand.N(2) == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		good().ServeHTTP(w, r)
	}
	moved := good()
	moved.ask = func(w http.ResponseWriter, r *http.Request) bool { // another default scope
		w.Header().Set("WWW-Authenticate", `Bearer scope="notes:read notes:write", resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"`)
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	spa := good()
	spa.serves = func(string) bool { return true }
	spa.past = func(r *http.Request) bool { return nameOf(r.Host) != host || !spa.ours(r.URL.Path) }
	spa.server = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>Welcome</title>")
	}
	return map[string]event{
		"the gateway restarts":                              {nil, 80 * time.Second},
		"the service restarts, behind nginx":                {refuses(http.StatusInternalServerError), 70 * time.Second},
		"the service restarts, behind Envoy":                {refuses(http.StatusForbidden), 70 * time.Second},
		"a rollout":                                         {rollout, 90 * time.Second},
		"a rate limit":                                      {refuses(http.StatusTooManyRequests), 90 * time.Second},
		"a slow minute":                                     {slow(3 * time.Second), time.Minute},
		"a minute without answers":                          {slow(time.Hour), time.Minute},
		"other default scopes":                              {moved.ServeHTTP, 10 * time.Minute},
		"another site takes every other host and path":      {spa.ServeHTTP, time.Hour},
		"the route is made again, and is missing meanwhile": {http.NotFound, 30 * time.Second},
	}
}

// A network that is away is told, later, and never as an open gate.
func TestTheNetworkAway(t *testing.T) {
	for name, front := range map[string]http.HandlerFunc{
		"refused":     nil,
		"bad gateway": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"forbidden":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"no route":    http.NotFound,
		"silent":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &gateway{front: good().ServeHTTP}
				w, log := begin(t, g, oneServer(t))
				time.Sleep(5 * time.Minute)
				log.take()
				g.set(front)
				for range 60 {
					time.Sleep(time.Minute)
					if got := state(t, w); got.bad() {
						t.Fatal(got)
					}
				}
				if lines := log.take(); state(t, w) != Unreachable || len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") {
					t.Errorf("%s: %q", state(t, w), lines)
				}
			})
		})
	}
}

// One strange answer changes nothing.
func TestOneLookIsNotEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{front: good().ServeHTTP}
		w, log := begin(t, g, oneServer(t))
		time.Sleep(5 * time.Minute)
		log.take()
		for range 20 {
			before := g.asked.Load()
			g.set(mcpServer)
			for g.asked.Load() == before {
				time.Sleep(time.Second)
			}
			g.set(good().ServeHTTP)
			time.Sleep(5 * time.Minute)
		}
		if lines := log.take(); state(t, w) != Closed || len(lines) != 0 {
			t.Errorf("%s: %q", state(t, w), lines)
		}
	})
}

// One request at a time at a host, whatever stands there, and never more hosts
// than the bound.
func TestLooksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var entries []resource.Entry
		for i := range 40 {
			for _, path := range []string{"/a", "/b"} {
				entries = append(entries, resource.Entry{Host: fmt.Sprintf("h%02d.example.com", i), Scheme: "https", Path: path})
			}
		}
		table, err := resource.NewTable(entries)
		if err != nil {
			t.Fatal(err)
		}
		now, most := map[string]int{}, 0
		g := &counting{begin: func(host string) {
			now[host]++
			if now[host] > 1 {
				t.Errorf("%d requests at once at %s", now[host], host)
			}
			most = max(most, len(now))
		}, end: func(host string) { delete(now, host) }}
		w, _ := begin(t, g, table)
		time.Sleep(30 * time.Minute)
		g.mu.Lock()
		defer g.mu.Unlock()
		if most < 2 || most > hostsAtOnce {
			t.Errorf("%d hosts at once, at most %d are allowed", most, hostsAtOnce)
		}
		if said := w.Trouble(); len(said) != maxSaid+1 || said[maxSaid] != "and 70 more" {
			t.Errorf("%d gates are told: %q", len(said), said)
		}
	})
}
