//go:build e2e

package e2e

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/template"
	"time"

	"sigs.k8s.io/yaml"
)

// storm is an installation of three replicas behind nginx, what is done to it,
// and what its users came to feel.
type storm struct {
	t        *testing.T
	port     string
	mcpURL   string
	mcp      *mcpServer
	replicas []*replica
	idp      *process
	// shared: the replicas have one guard, so nothing may be redeemed twice.
	shared bool
	// over is closed when no new sign-in is to begin.
	over chan struct{}

	mu       sync.Mutex
	count    tally
	problems []string
	windows  []window
	pool     []*held
	keys     map[string]time.Time // by kid, what a verifier with a cache knows
	backend  string               // what nginx passes requests to, "" for mcp
	// died, if set, is told of each replica that was killed, before it starts again.
	died func(r *replica, d death)
}

// death is the end of a replica by a signal.
type death struct {
	at, gone time.Time // when the signal was sent, and when the process was no more
}

// tally is a row of the table.
type tally struct {
	logins, told, cut, lost   int
	calls, sdkCalls, failed   int
	refreshes                 int
	kills, outages, hangs     int
	rotations                 int
	codesTwice, redeemedTwice int
	missing                   int
}

// replica is one process of the service.
type replica struct {
	*process
	address, management, config string
	up                          atomic.Bool
}

// window is a disturbance and when it could be felt.
type window struct {
	kind     string
	from, to time.Time // to is zero while it lasts
}

// What one may feel some moments longer than it lasts: pools of connections
// recover, and requests that waited end.
var felt = map[string]time.Duration{"kill": 2 * time.Second, "guard": 4 * time.Second, "provider": 12 * time.Second}

// held is a token in use, and the code that it came from.
type held struct {
	sync.RWMutex // for writing by the goroutine that ends it
	access       string
	born         time.Time
	code         url.Values
	ended        bool
}

const (
	chaosLifetime = time.Minute
	chaosRotation = 15 * time.Second
	// keysKept is how long the verifier keeps the keys: as much less than the
	// rotation as five minutes are less than ten.
	keysKept = 7 * time.Second
)

// newStorm starts the installation. An edit that changes the configuration has a
// provider of its own, so none is started then.
func newStorm(t *testing.T, guard map[string]any, edits ...func(s *storm, file map[string]any)) *storm {
	t.Helper()
	binary, err := buildShortKeys()
	if err != nil {
		notRun(t, "the service does not build: %v", err)
	}
	ports := freePorts(t, 8)
	s := &storm{t: t, port: ports[0], mcp: startMCP(t, true), shared: guard != nil, over: make(chan struct{}), keys: map[string]time.Time{}}
	s.mcpURL = "http://127.0.0.1:" + s.port + "/mcp"
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("password", []byte("secret-password\n"))
	seed := write("seed", []byte(strings.Repeat("only for tests! ", 4)))
	var provider map[string]any
	if len(edits) == 0 {
		st := &stack{port: s.port}
		provider = st.startIDP(t, ports[1], "userinfo", "", st.callbacks()...)
		s.idp = st.idp
	}
	for i := range 3 {
		r := &replica{address: "127.0.0.1:" + ports[2+2*i], management: "127.0.0.1:" + ports[3+2*i]}
		file := map[string]any{
			"listen": map[string]any{"http": r.address, "management": r.management}, "provider": provider,
			"keys":   map[string]any{"source": "seed", "seedFiles": []string{seed}, "rotation": chaosRotation.String()},
			"tokens": map[string]any{"accessTokenLifetime": chaosLifetime.String()},
			"proxy": map[string]any{"hosts": []any{map[string]any{
				"host": "127.0.0.1:" + s.port, "scheme": "http", "path": "/mcp", "endpoint": s.mcp.direct.URL + "/mcp",
			}}},
		}
		if guard != nil {
			file["guard"] = guard
		}
		for _, edit := range edits {
			edit(s, file)
		}
		text, err := yaml.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		r.config = write(fmt.Sprintf("replica-%d.yaml", i), text)
		s.replicas = append(s.replicas, r)
		r.process = start(t, "mcp-forward-auth", nil, binary, "serve", "--config", r.config)
	}
	for _, r := range s.replicas {
		r.ready(t)
	}
	s.startNginx()
	return s
}

func (r *replica) ready(t *testing.T) {
	t.Helper()
	r.waitHTTPFor(t, 2*time.Minute, "http://"+r.management+"/readyz", http.StatusOK) // it makes many keys
	r.up.Store(true)
}

// replicasConf is the page's configuration: its upstream with the addresses of
// the test, and what it says for every location.
func replicasConf(t *testing.T, addresses []string) (upstream, location string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs", "replicas.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```nginx\n")
	block, _, closed := strings.Cut(block, "```")
	upstream, location, parted := strings.Cut(block, "}\n")
	if !found || !closed || !parted {
		t.Fatal("docs/replicas.md has no configuration of nginx")
	}
	for i, a := range addresses {
		upstream = strings.Replace(upstream, fmt.Sprintf("10.0.0.%d:8080", 11+i), a, 1)
	}
	if strings.Contains(upstream, "10.0.0.") {
		t.Fatalf("docs/replicas.md does not have %d replicas:\n%s", len(addresses), upstream)
	}
	return upstream + "}", location
}

var stormConf = template.Must(template.New("nginx.conf").Parse(`daemon off;
worker_processes 1;
{{- if .Root}}
user root;
{{- end}}
pid {{.Dir}}/nginx.pid;
error_log stderr notice;
events { worker_connections 2048; }
http {
  access_log {{.Dir}}/access.log;
  client_body_temp_path {{.Dir}}/body;
  proxy_temp_path {{.Dir}}/proxy;
  fastcgi_temp_path {{.Dir}}/fastcgi;
  uwsgi_temp_path {{.Dir}}/uwsgi;
  scgi_temp_path {{.Dir}}/scgi;
  {{.Upstream}}
  upstream mcp { server {{.MCP}}; keepalive 32; }
  server {
    listen 127.0.0.1:{{.Port}};
    location = /_auth {
      internal;
      proxy_pass http://mcp_forward_auth/authenticate;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
      proxy_set_header X-Original-Method $request_method;
      {{.Location}}
    }
    location /mcp {
      auth_request /_auth;
      error_page 500 = @mcp_auth_down;
      auth_request_set $challenge $upstream_http_www_authenticate;
      add_header WWW-Authenticate $challenge always;
      auth_request_set $user $upstream_http_x_auth_request_user;
      auth_request_set $email $upstream_http_x_auth_request_email;
      auth_request_set $groups $upstream_http_x_auth_request_groups;
      proxy_set_header X-Auth-Request-User $user;
      proxy_set_header X-Auth-Request-Email $email;
      proxy_set_header X-Auth-Request-Groups $groups;
      auth_request_set $idp $upstream_http_x_forwarded_access_token;
      proxy_set_header X-Forwarded-Access-Token $idp;
      proxy_set_header Host $http_host;
      proxy_buffering off;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_pass http://mcp;
    }
    location @mcp_auth_down {
      internal;
      add_header Retry-After 5 always;
      return 503;
    }
    location / {
      proxy_pass http://mcp_forward_auth;
      proxy_set_header Host $http_host;
      {{.Location}}
    }
  }
}
`))

func (s *storm) startNginx() {
	t := s.t
	t.Helper()
	var addresses []string
	for _, r := range s.replicas {
		addresses = append(addresses, r.address)
	}
	dir := t.TempDir()
	upstream, location := replicasConf(t, addresses)
	var text strings.Builder
	if err := stormConf.Execute(&text, map[string]any{
		"Dir": dir, "Root": os.Getuid() == 0, "Port": s.port, "MCP": cmp.Or(s.backend, s.mcp.address()), "Upstream": upstream, "Location": location,
	}); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "nginx", nil, program(t, "nginx", "/usr/sbin/nginx"), "-p", dir, "-c", conf, "-e", "stderr").waitTCP(t, "127.0.0.1:"+s.port)
}

// begin opens a window of disturbance; what it returns closes it.
func (s *storm) begin(kind string) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.windows = append(s.windows, window{kind: kind, from: time.Now()})
	i := len(s.windows) - 1
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.windows[i].to = time.Now()
	}
}

// disturbed reports whether what began then could feel one of the kinds.
func (s *storm) disturbed(began time.Time, kinds ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.windows, func(w window) bool {
		return slices.Contains(kinds, w.kind) && (w.to.IsZero() || w.to.Add(felt[w.kind]).After(began))
	})
}

func (s *storm) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (s *storm) add(what func(c *tally)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what(&s.count)
}

// kill ends a replica as a crash would, and starts it again.
func (s *storm) kill(r *replica, binary string) {
	end := s.begin("kill")
	defer end()
	r.up.Store(false)
	d := death{at: time.Now()}
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	<-r.done
	d.gone = time.Now()
	s.add(func(c *tally) { c.kills++ })
	if s.died != nil {
		s.died(r, d)
	}
	time.Sleep(200 * time.Millisecond)
	r.process = start(s.t, "mcp-forward-auth", nil, binary, "serve", "--config", r.config)
	r.ready(s.t)
}

// hang stops the identity provider for a while; its connections stay open.
func (s *storm) hang(d time.Duration) {
	end := s.begin("provider")
	defer end()
	_ = syscall.Kill(-s.idp.cmd.Process.Pid, syscall.SIGSTOP)
	time.Sleep(d)
	_ = syscall.Kill(-s.idp.cmd.Process.Pid, syscall.SIGCONT)
	s.add(func(c *tally) { c.hangs++ })
}

// answer is one answer of the service, or none.
type answer struct {
	status     int
	retryAfter string
	header     http.Header
	body       []byte
	err        error
}

// quick reuses connections, as the many would not; it follows no redirects.
var quick = &http.Client{
	Timeout:       30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: 5 * time.Second},
}

func (s *storm) send(method, base, path, body string, header ...string) answer {
	req, err := http.NewRequestWithContext(s.t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.Host = "127.0.0.1:" + s.port
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := quick.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), header: resp.Header, body: text, err: err}
}

func (s *storm) gateway() string { return "http://127.0.0.1:" + s.port }

func (s *storm) token(base string, form url.Values) (answer, grant) {
	a := s.send(http.MethodPost, base, "/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	g := grant{status: a.status, header: a.header}
	_ = json.Unmarshal(a.body, &g)
	return a, g
}

// verifyLater is an MCP server that checks tokens itself with keys that it keeps
// for a while. It must know the key of each token that is alive.
func (s *storm) verifyLater(access string) {
	kid := kidOf(access)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.keys[kid]; !known {
		s.count.missing++
		s.problems = append(s.problems, fmt.Sprintf("the keys that a verifier kept lack %s, which just signed", kid))
	}
}

func kidOf(access string) string {
	head, _, _ := strings.Cut(access, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(head)
	var h struct {
		Kid string `json:"kid"`
	}
	_ = json.Unmarshal(raw, &h)
	return h.Kid
}

// watchKeys keeps the verifier's copy, and looks whether a token that is alive
// has lost its key.
func (s *storm) watchKeys(stop <-chan struct{}) {
	for {
		a := s.send(http.MethodGet, s.gateway(), "/openid/v1/jwks", "")
		var set struct {
			Keys []struct {
				Kid string `json:"kid"`
			} `json:"keys"`
		}
		if a.err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &set) != nil || len(set.Keys) == 0 {
			s.problem("the keys: %d %v", a.status, a.err)
		} else {
			now := map[string]time.Time{}
			for _, k := range set.Keys {
				now[k.Kid] = time.Now()
			}
			s.mu.Lock()
			for kid := range now {
				if _, known := s.keys[kid]; !known && len(s.keys) > 0 {
					s.count.rotations++
				}
			}
			s.keys = now
			for _, h := range s.pool {
				if kid := kidOf(h.access); time.Since(h.born) < chaosLifetime {
					if _, there := now[kid]; !there {
						s.count.missing++
						s.problems = append(s.problems, "a token that is alive has lost its key "+kid)
					}
				}
			}
			s.mu.Unlock()
		}
		select {
		case <-stop:
			return
		case <-time.After(keysKept):
		}
	}
}

// table is how the rows are printed.
func chaosTable(rows []string, counts []tally) string {
	var b strings.Builder
	columns := []struct {
		name string
		of   func(tally) int
	}{
		{"logins", func(c tally) int { return c.logins }}, {"lost", func(c tally) int { return c.lost }},
		{"503, then good", func(c tally) int { return c.told }}, {"cut by a kill, then good", func(c tally) int { return c.cut }},
		{"refreshes", func(c tally) int { return c.refreshes }},
		{"calls", func(c tally) int { return c.calls }}, {"SDK calls", func(c tally) int { return c.sdkCalls }}, {"failed", func(c tally) int { return c.failed }},
		{"kills", func(c tally) int { return c.kills }}, {"guard outages", func(c tally) int { return c.outages }}, {"provider hangs", func(c tally) int { return c.hangs }},
		{"new keys", func(c tally) int { return c.rotations }}, {"keys missed", func(c tally) int { return c.missing }},
		{"codes tried twice", func(c tally) int { return c.codesTwice }}, {"redeemed twice", func(c tally) int { return c.redeemedTwice }},
	}
	width := 0
	for _, c := range columns {
		width = max(width, len(c.name))
	}
	line := func(name string, cells func(i int) string) {
		fmt.Fprintf(&b, "  %-*s", width, name)
		for i := range rows {
			fmt.Fprintf(&b, "  %9s", cells(i))
		}
		b.WriteString("\n")
	}
	line("", func(i int) string { return rows[i] })
	for _, c := range columns {
		line(c.name, func(i int) string { return strconv.Itoa(c.of(counts[i])) })
	}
	return b.String()
}

func chaosFor() (time.Duration, error) {
	return time.ParseDuration(cmp.Or(os.Getenv("E2E_CHAOS"), "39s"))
}
