package relay_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// upstream is an MCP server that remembers the requests it got, and answers them
// as its handler does.
type upstream struct {
	*httptest.Server
	mu  sync.Mutex
	got []*http.Request
}

// startUpstream answers tools/list of the service itself, which has no identity,
// and gives every other request to h.
func startUpstream(t testing.TB, h http.HandlerFunc) *upstream {
	t.Helper()
	u := new(upstream)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Request-User") == "" {
			http.Error(w, "not for the catalogue", http.StatusNotFound)
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		u.mu.Lock()
		u.got = append(u.got, r)
		u.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(func() { u.CloseClientConnections(); u.Close() })
	return u
}

// last returns the last request, nil if there was none.
func (u *upstream) last() *http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.got) == 0 {
		return nil
	}
	return u.got[len(u.got)-1]
}

func (u *upstream) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = nil
}

// served is a service that relays to an upstream, and a token for it.
type served struct {
	*servertest.Service
	*upstream
	token string
}

func serve(t testing.TB, h http.HandlerFunc, edits ...func(*config.HostFile)) *served {
	t.Helper()
	return serveAt(t, h, func(*config.File) {}, edits...)
}

// serveAt is serve with a change of the rest of the configuration.
func serveAt(t testing.TB, h http.HandlerFunc, rest func(*config.File), edits ...func(*config.HostFile)) *served {
	t.Helper()
	u := startUpstream(t, h)
	path := "/mcp"
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		rest(f)
		host := &f.Proxy.Hosts[0]
		host.Endpoint, host.Serve.Enabled = u.URL+"/mcp", true
		host.Scopes = []rule.Scope{{Name: "use", Tools: []string{"look", "list*"}}, {Name: "change", Tools: []string{"put"}}}
		for _, edit := range edits {
			edit(host)
		}
		if host.Path != "" {
			path = strings.TrimSuffix(host.Path, "/")
		}
	}})
	c := s.NewClient(t, servertest.Host, nil)
	c.Resource, c.Scope = "https://"+servertest.Host+path, "use"
	return &served{s, u, c.AccessToken(t, s.NewBrowser())}
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
}

const look = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":{}}}`

// post sends a message with the token; header is name, value, name, value.
func (s *served) post(t testing.TB, body string, header ...string) *servertest.Answer {
	t.Helper()
	return s.Send(t, s.request(t, http.MethodPost, "/mcp", body, header...))
}

func (s *served) request(t testing.TB, method, path, body string, header ...string) *http.Request {
	t.Helper()
	r := servertest.Request(t, method, "https://"+servertest.Host+path, body, header...)
	if r.Header.Get("Content-Type") == "" && body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	return r
}

// A served host answers as a gateway with this service behind it would, and the
// server gets what was decided about.
func TestServed(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	answer := s.post(t, look, "X-Request-Id", "7", "Mcp-Param-Region", "eu", "User-Agent", "a client")
	if answer.Status != http.StatusOK || answer.Body != `{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Fatalf("status %d, want %v: %s", answer.Status, http.StatusOK, answer.Body)
	}
	got := s.last()
	body, _ := io.ReadAll(got.Body)
	if string(body) != look || got.ContentLength != int64(len(look)) || got.URL.Path != "/mcp" || got.Host != strings.TrimPrefix(s.URL, "http://") {
		t.Errorf("%s %s %s %d", got.Host, got.URL, body, got.ContentLength)
	}
	for name, want := range map[string]string{
		"X-Auth-Request-User": "static:jane", "X-Auth-Request-Email": "jane@example.com", "X-Auth-Request-Groups": "engineering,on call",
		"X-Request-Id": "7", "Mcp-Param-Region": "eu", "User-Agent": "a client",
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": servertest.Host, "X-Forwarded-For": "127.0.0.1", "Authorization": "",
	} {
		if got := strings.Join(got.Header[name], "|"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	t.Run("no token", func(t *testing.T) {
		s.forget()
		answer := s.Send(t, servertest.Request(t, http.MethodPost, servertest.Resource, look, "Content-Type", "application/json"))
		if answer.Status != http.StatusUnauthorized || !strings.Contains(answer.Header.Get("WWW-Authenticate"), "/.well-known/oauth-protected-resource/mcp") || s.last() != nil {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
	})
	t.Run("step-up", func(t *testing.T) {
		s.forget()
		answer := s.post(t, strings.Replace(look, "look", "put", 1))
		if answer.Status != http.StatusForbidden || !strings.Contains(answer.Header.Get("WWW-Authenticate"), `scope="use change"`) || s.last() != nil {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
	})
	t.Run("its own paths", func(t *testing.T) {
		s.forget()
		for path, want := range map[string]int{
			"/.well-known/oauth-protected-resource/mcp": 200, "/.well-known/oauth-authorization-server": 200, "/mcp/.well-known/openid-configuration": 200, "/openid/v1/jwks": 200,
			"/authenticate": 404, "/authenticate/forwarded": 404, "/": 404, "/other": 404, "/mcpx": 404,
		} {
			r := s.request(t, http.MethodGet, path, "")
			if a := s.Send(t, r); a.Status != want || s.last() != nil {
				t.Errorf("%s: %d %s", path, a.Status, a.Body)
			}
		}
	})
	t.Run("a gateway that asks about it", func(t *testing.T) {
		r := servertest.Request(t, http.MethodGet, "http://auth.internal/authenticate", "", "X-Original-Url", servertest.Resource, "X-Original-Method", "POST", "Authorization", "Bearer "+s.token)
		if a := s.Send(t, r); a.Status != http.StatusForbidden || a.Header.Get("X-Auth-Request-User") != "" {
			t.Errorf("status %d, want %v: %v", a.Status, http.StatusForbidden, a.Header)
		}
		if e := s.Log.Last(audit.AccessDenied); e["reason"] != "not_served_that_way" {
			t.Errorf("%v", e)
		}
	})
}

func TestPaths(t *testing.T) {
	t.Parallel()
	s := serve(t, echo, func(h *config.HostFile) {
		h.Path, h.Endpoint = "/public", h.Endpoint+"/v1/"
	})
	for path, want := range map[string]string{
		"/public": "/mcp/v1/", "/public/": "/mcp/v1/", "/public/x": "/mcp/v1/x", "/public/x?a=b&c": "/mcp/v1/x?a=b&c", "/public/a%20b": "/mcp/v1/a%20b",
	} {
		s.forget()
		a := s.Send(t, s.request(t, http.MethodPost, path, look))
		if got := s.last(); a.Status != 200 || got == nil || got.RequestURI != want {
			t.Errorf("%s: %d, the server got %v, want %s", path, a.Status, got, want)
		}
	}
	s.forget()
	for path, want := range map[string]int{
		"/mcp": 404, "/mcp/v1": 404, "/publicx": 404, "/": 404, "/Public": 404, "/public/../mcp": 400, "/public/%2e%2e/mcp": 400, "//public": 400, "/public//x": 400, "/public/;x": 400,
		"/public/..%2fmcp": 400, `/public/\x`: 400,
	} {
		if status := raw(t, s, "POST "+path+" HTTP/1.1", look); status != want || s.last() != nil {
			t.Errorf("%s: %d, want %d; the server got %v", path, status, want, s.last())
		}
	}
	if status := raw(t, s, "POST http://"+servertest.Host+"/public HTTP/1.1", look); status != 400 || s.last() != nil {
		t.Errorf("absolute form: status %d, want 400", status)
	}
}

// raw sends a request as it is, and returns the status of the answer.
func raw(t *testing.T, s *served, requestLine, body string, header ...string) int {
	t.Helper()
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "%s\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n", requestLine, servertest.Host, s.token)
	if !slices.ContainsFunc(header, func(h string) bool {
		return strings.Contains(strings.ToLower(h), "transfer-encoding") || strings.HasPrefix(h, "Content-Length")
	}) {
		fmt.Fprintf(conn, "Content-Length: %d\r\n", len(body))
	}
	for _, h := range header {
		io.WriteString(conn, h+"\r\n")
	}
	io.WriteString(conn, "\r\n"+body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s %q: %v", requestLine, header, err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// What could be read as the end of one request and the beginning of another never
// reaches the server.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(look), look)
	for name, tt := range map[string]struct {
		header []string
		body   string
		want   []int
	}{
		"length and chunks":   {[]string{"Content-Length: 5", "Transfer-Encoding: chunked"}, chunked, []int{200, 400}},
		"two lengths":         {[]string{"Content-Length: 5", "Content-Length: 6"}, look, []int{400}},
		"joined lengths":      {[]string{"Content-Length: 5, 5"}, look, []int{400}},
		"length with a sign":  {[]string{"Content-Length: +5"}, look, []int{400}},
		"two codings":         {[]string{"Transfer-Encoding: gzip, chunked"}, chunked, []int{400, 501}},
		"coding twice":        {[]string{"Transfer-Encoding: chunked", "Transfer-Encoding: chunked"}, chunked, []int{400, 501}},
		"unknown coding":      {[]string{"Transfer-Encoding: xchunked"}, chunked, []int{400, 501}},
		"space before colon":  {[]string{"Transfer-Encoding : chunked"}, chunked, []int{400}},
		"folded line":         {[]string{"X-A: b", " Transfer-Encoding: chunked"}, look, []int{400}},
		"bad chunk":           {[]string{"Transfer-Encoding: chunked"}, "zz\r\n" + look + "\r\n0\r\n\r\n", []int{400}},
		"underscored length":  {[]string{"Content_Length: 5"}, look, []int{200}},
		"underscored coding":  {[]string{"Transfer_Encoding: chunked"}, look, []int{200}},
		"trailers":            {[]string{"Transfer-Encoding: chunked", "Trailer: X-Auth-Request-User"}, strings.TrimSuffix(chunked, "\r\n") + "X-Auth-Request-User: root\r\n\r\n", []int{200}},
		"trailer not told of": {[]string{"Transfer-Encoding: chunked"}, strings.TrimSuffix(chunked, "\r\n") + "X-Auth-Request-User: root\r\n\r\n", []int{200}},
	} {
		t.Run(name, func(t *testing.T) {
			s.forget()
			status := raw(t, s, "POST /mcp HTTP/1.1", tt.body, tt.header...)
			if !slices.Contains(tt.want, status) {
				t.Errorf("status %d, want one of %v", status, tt.want)
			}
			got := s.last()
			if got == nil {
				if status == 200 {
					t.Error("the server got nothing")
				}
				return
			}
			body, _ := io.ReadAll(got.Body)
			if status != 200 || string(body) != look || got.ContentLength != int64(len(look)) || len(got.TransferEncoding) > 0 || got.Header["Content_length"] != nil || got.Header["Transfer_encoding"] != nil || len(got.Trailer) > 0 || got.Header.Get("X-Auth-Request-User") != "static:jane" {
				t.Errorf("the server got %v %v %v %s", got.Header, got.TransferEncoding, got.Trailer, body)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	long := strings.Replace(look, "{}", `{"x":"`+strings.Repeat("a", 1<<20)+`"}`, 1)
	for name, tt := range map[string]struct {
		body   string
		header []string
		status int
	}{
		"oversize":              {long, nil, 413},
		"no body":               {"", nil, 400},
		"not JSON":              {"look", nil, 400},
		"duplicate method":      {strings.Replace(look, `"id":1`, `"method":"tools/list"`, 1), nil, 400},
		"another case":          {strings.Replace(look, `"id":1`, `"Method":"tools/list"`, 1), nil, 400},
		"text":                  {look, []string{"Content-Type", "text/plain"}, 415},
		"charset":               {look, []string{"Content-Type", "application/json; charset=utf-7"}, 415},
		"compressed":            {look, []string{"Content-Encoding", "gzip"}, 415},
		"lying headers":         {look, []string{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list"}, 400},
		"batch, one not opened": {"[" + look + "," + strings.Replace(look, "look", "put", 1) + "]", nil, 403},
	} {
		t.Run(name, func(t *testing.T) {
			s.forget()
			if a := s.post(t, tt.body, tt.header...); a.Status != tt.status || a.JSON["error"] == nil || s.last() != nil {
				t.Errorf("%d %s, want %d", a.Status, a.Body, tt.status)
			}
		})
	}
	if a := s.post(t, "["+look+"]"); a.Status != 200 {
		t.Errorf("a batch: status %d, want 200", a.Status)
	}
}

func TestConnectionHeader(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	for value, want := range map[string]int{
		"close": 200, "keep-alive, close": 200, "close, X-Trace-Hop": 200, "close, authorization": 400, "close, X-Auth-Request-User": 400,
		"close,Mcp-Session-Id": 400, "close, mcp-method": 400, "close, content-type": 400, "close, X-Forwarded-For": 400,
	} {
		s.forget()
		if status := raw(t, s, "POST /mcp HTTP/1.1", look, "Connection: "+value, "X-Trace-Hop: 1"); status != want || (s.last() != nil) != (want == 200) {
			t.Errorf("%s: %d, want %d", value, status, want)
		}
		if got := s.last(); got != nil && strings.Contains(value, "X-Trace-Hop") && got.Header["X-Trace-Hop"] != nil {
			t.Errorf("%s: a header of the hop went on", value)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "DELETE": 200, "PUT": 405, "PATCH": 405, "TRACE": 405, "OPTIONS": 405, "PROPFIND": 405} {
		s.forget()
		body := ""
		if method == "PUT" || method == "PATCH" || method == "PROPFIND" || method == "TRACE" {
			body = look
		}
		a := s.Send(t, s.request(t, method, "/mcp", body))
		if a.Status != want || (s.last() != nil) != (want == 200) || want == 405 && a.Header.Get("Allow") != "GET, POST, DELETE" {
			t.Errorf("%s: %d %s", method, a.Status, a.Body)
		}
	}
	if status := raw(t, s, "GET /mcp HTTP/1.1", "", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"); status != 200 || s.last().Header.Get("Upgrade") != "" {
		t.Errorf("an upgrade: status %d, want 200", status)
	}
}

// A server that answers like this gets none of it to the client.
func TestAnswersOfServers(t *testing.T) {
	t.Parallel()
	var answer http.HandlerFunc
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
	for name, tt := range map[string]struct {
		answer   http.HandlerFunc
		status   int
		reason   string
		location string
	}{
		"401 with a challenge":     {status(401, "WWW-Authenticate", `Bearer resource_metadata="https://evil.example/"`), 502, "mcp_server_unauthorized", ""},
		"403":                      {status(403), 502, "mcp_server_unauthorized", ""},
		"407":                      {status(407, "Proxy-Authenticate", "Basic"), 502, "mcp_server_unauthorized", ""},
		"redirect elsewhere":       {status(302, "Location", "https://evil.example/mcp"), 502, "mcp_server_redirect", ""},
		"redirect to another port": {status(307, "Location", "http://127.0.0.1:1/mcp"), 502, "mcp_server_redirect", ""},
		"redirect beside":          {status(307, "Location", "/admin"), 502, "mcp_server_redirect", ""},
		"redirect with //":         {status(307, "Location", "//evil.example/mcp"), 502, "mcp_server_redirect", ""},
		"redirect out by dots":     {status(307, "Location", "/mcp/../admin"), 502, "mcp_server_redirect", ""},
		"redirect by script":       {status(307, "Location", "javascript:alert(1)"), 502, "mcp_server_redirect", ""},
		"two locations":            {status(307, "Location", "/mcp/", "Location", "/mcp/x"), 502, "mcp_server_redirect", ""},
		"redirect without":         {status(307), 502, "mcp_server_redirect", ""},
		"redirect to a slash":      {status(307, "Location", "/mcp/?a=b"), 307, "", servertest.Resource + "/?a=b"},
		"relative redirect":        {status(307, "Location", "mcp/x"), 307, "", servertest.Resource + "/x"},
		"404":                      {status(404), 404, "", ""},
		"500":                      {status(500), 500, "", ""},
		"429":                      {status(429, "Retry-After", "3"), 429, "", ""},
		"202":                      {status(202), 202, "", ""},
		"a megabyte of headers":    {status(200, "X-Long", strings.Repeat("a", 1<<20)), 502, "mcp_server_unreachable", ""},
		"closes at once":           {hijacked(""), 502, "mcp_server_unreachable", ""},
		"speaks no HTTP":           {hijacked("SSH-2.0-OpenSSH\r\n"), 502, "mcp_server_unreachable", ""},
		"switches protocols":       {hijacked("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), 502, "mcp_server_unreachable", ""},
		"two lengths":              {hijacked("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 502, "mcp_server_unreachable", ""},
		"bad session":              {status(200, "Mcp-Session-Id", "a b"), 502, "mcp_server_answer", ""},
		"two sessions":             {status(200, "Mcp-Session-Id", "a", "Mcp-Session-Id", "b"), 502, "mcp_server_answer", ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer = tt.answer
			before := len(s.Log.Entries())
			got := s.post(t, look)
			if got.Status != tt.status || got.Header.Get("Location") != tt.location || got.Header.Get("WWW-Authenticate") != "" || got.Header.Get("Proxy-Authenticate") != "" || strings.Contains(got.Body, "evil") {
				t.Errorf("status %d, want %v: %v %s", got.Status, tt.status, got.Header, got.Body)
			}
			if tt.status >= 502 && (got.JSON["jsonrpc"] != "2.0" || got.JSON["error"] == nil || got.JSON["id"] != 1.0) {
				t.Errorf("not an error of JSON-RPC: %s", got.Body)
			}
			reason := ""
			for _, e := range s.Log.Entries()[before:] {
				if e["event"] == string(audit.RelayFailed) {
					reason = e["reason"]
				}
			}
			if reason != tt.reason {
				t.Errorf("audit says %q, want %q", reason, tt.reason)
			}
		})
	}
	t.Run("headers", func(t *testing.T) {
		answer = status(200, "Set-Cookie", "a=b", "Alt-Svc", `h3=":443"`, "Strict-Transport-Security", "max-age=1", "Access-Control-Allow-Origin", "*", "Clear-Site-Data", `"*"`,
			"X-Accel-Redirect", "/secret", "X-Sendfile", "/etc/passwd", "Refresh", "0; url=//evil", "X-Auth-Request-User", "x", "X-Own", "yes", "Cache-Control", "max-age=3")
		got := s.post(t, look)
		for name := range got.Header {
			if !slices.Contains([]string{"X-Own", "Date", "Content-Length", "Cache-Control"}, name) {
				t.Errorf("%s: %v", name, got.Header[name])
			}
		}
	})
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func hijacked(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, answer)
		conn.Close()
	}
}

func TestServerIsAway(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	s.upstream.CloseClientConnections()
	s.upstream.Close()
	if a := s.post(t, look); a.Status != 502 || s.Log.Last(audit.RelayFailed)["reason"] != "mcp_server_unreachable" || strings.Contains(a.Body, "127.0.0.1") {
		t.Errorf("status %d, want 502: %s", a.Status, a.Body)
	}
}

// A session is of no use to another person or client.
func TestSessions(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Mcp-Session-Id", "session.1") // the TypeScript SDK says it in every answer
		echo(w, r)
	})
	first := s.post(t, look)
	id := first.Header.Get("Mcp-Session-Id")
	if first.Status != 200 || id == "session.1" || id == "" {
		t.Fatalf("status %d, want 200: %q", first.Status, id)
	}
	if a := s.post(t, look, "Mcp-Session-Id", id); a.Status != 200 || s.last().Header.Get("Mcp-Session-Id") != "session.1" {
		t.Errorf("its owner: status %d, want 200: %v", a.Status, s.last().Header)
	}
	token := func(m servertest.Metadata) string {
		c := s.NewClient(t, servertest.Host, m)
		c.Scope = "use"
		return c.AccessToken(t, s.NewBrowser())
	}
	// The Go SDK registers again whenever it asks for more scopes.
	if a := s.post(t, look, "Mcp-Session-Id", id, "Authorization", "Bearer "+token(nil)); a.Status != 200 || s.last().Header.Get("Mcp-Session-Id") != "session.1" || a.Header.Get("Mcp-Session-Id") != id {
		t.Errorf("its owner, registered again: status %d, want 200: %s", a.Status, a.Body)
	}
	for name, tt := range map[string]struct{ token, id string }{
		"another client":           {token(servertest.Metadata{"client_name": "another"}), id},
		"one that leads elsewhere": {token(servertest.Metadata{"redirect_uris": []string{"http://127.0.0.1:9/elsewhere"}}), id},
		"one with a secret":        {token(servertest.Metadata{"token_endpoint_auth_method": "client_secret_basic"}), id},
		"the first tag alone":      {s.token, id[:len(id)-22]}, "the second alone": {s.token, id[:len("session.1.")] + id[len(id)-22:]},
		"the tags the other way round": {s.token, id[:len("session.1.")] + id[len(id)-22:] + id[len("session.1."):len(id)-22]}, "the server's own": {s.token, "session.1"}, "cut": {s.token, id[:len(id)-1]},
		"changed": {s.token, "x" + id}, "empty": {s.token, ""}, "a dot": {s.token, "."}, "only a tag": {s.token, id[len("session.1"):]},
	} {
		t.Run(name, func(t *testing.T) {
			s.forget()
			a := s.post(t, look, "Mcp-Session-Id", tt.id, "Authorization", "Bearer "+tt.token)
			if a.Status != 404 || s.last() != nil || a.JSON["jsonrpc"] != "2.0" || s.Log.Last(audit.AccessDenied)["reason"] != "unknown_session" {
				t.Errorf("status %d, want 404: %s", a.Status, a.Body)
			}
		})
	}
	if a := s.post(t, look, "Mcp-Session-Id", id, "Mcp-Session-Id", id); a.Status != 400 {
		t.Errorf("twice: status %d, want 400", a.Status)
	}
	s.Restart() // keys come from a seed
	if a := s.post(t, look, "Mcp-Session-Id", id); a.Status != 200 {
		t.Errorf("after a restart: status %d, want 200", a.Status)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	const page = "https://page.example"
	s := serve(t, echo, func(h *config.HostFile) { h.CORS.AllowedOrigins = []string{page} })
	for origin, want := range map[string]int{page: 200, "https://" + servertest.Host: 200, "": 200, "https://evil.example": 403, "null": 403} {
		var header []string
		if origin != "" {
			header = []string{"Origin", origin}
		}
		s.forget()
		a := s.post(t, look, header...)
		if a.Status != want || want == 200 && s.last().Header.Get("Origin") != "" || (a.Header.Get("Access-Control-Allow-Origin") == page) != (origin == page) {
			t.Errorf("%q: %d %v", origin, a.Status, a.Header)
		}
	}
	r := servertest.Request(t, http.MethodOptions, servertest.Resource, "", "Origin", page, "Access-Control-Request-Method", "POST")
	s.forget()
	if a := s.Send(t, r); a.Status != 204 || a.Header.Get("Access-Control-Allow-Origin") != page || !strings.Contains(a.Header.Get("Access-Control-Allow-Headers"), "Authorization") || s.last() != nil {
		t.Errorf("preflight: %d %v", a.Status, a.Header)
	}
	other := serve(t, echo) // names no origin
	if a := other.post(t, look, "Origin", page); a.Status != 403 || other.Log.Last(audit.AccessDenied)["reason"] != "forbidden_origin" {
		t.Errorf("without a list: status %d, want 403", a.Status)
	}
}

// Events come as they are sent, for longer than any bound on a whole answer, and
// the server learns when the client leaves.
func TestStreams(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	next := make(chan string)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		for {
			select {
			case e := <-next:
				fmt.Fprintf(w, "data: %s\n\n", e)
				http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				close(left)
				return
			}
		}
	})
	ctx, leave := context.WithCancel(t.Context())
	resp, err := s.Do(s.request(t, http.MethodGet, "/mcp", "").WithContext(ctx))
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(err, resp)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, e := range []string{"{}", `{"a":1}`} {
		next <- e
		if !lines.Scan() || lines.Text() != "data: "+e || !lines.Scan() {
			t.Fatalf("%q %v", lines.Text(), lines.Err())
		}
	}
	if n := servertest.Metric(t, s.Service, "mcp_forward_auth_relayed_open"); n != 1 {
		t.Errorf("%v are open, want 1", n)
	}
	leave()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the server is not told that the client has left")
	}
}

// A stop ends streams in order, and lets calls come to their end.
func TestDrain(t *testing.T) {
	t.Parallel()
	var called, end sync.WaitGroup
	called.Add(1)
	end.Add(1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			called.Done()
			end.Wait()
			echo(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	resp, err := s.Do(s.request(t, http.MethodGet, "/mcp", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := make(chan *servertest.Answer, 1)
	go func() {
		a, err := s.TrySend(s.request(t, http.MethodPost, "/mcp", look))
		if err != nil {
			t.Error(err)
		}
		answer <- a
	}()
	called.Wait()
	stopped := make(chan struct{})
	go func() { s.Stop(); close(stopped) }()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("the stream ends with %q, %v", rest, err)
	}
	end.Done()
	if a := <-answer; a == nil || a.Status != 200 {
		t.Errorf("%v", a)
	}
	<-stopped
}

// A server that goes away in the middle ends the answer in a way that the client notices.
func TestCutAnswers(t *testing.T) {
	t.Parallel()
	var answer string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { hijacked(answer)(w, r) })
	for name, text := range map[string]string{
		"length": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"jsonrpc\"",
		"chunks": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n",
	} {
		answer = text
		resp, err := s.Do(s.request(t, http.MethodPost, "/mcp", look))
		if err != nil {
			continue // before the headers were flushed
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the answer seems to be whole", name)
		}
		resp.Body.Close()
	}
}

// A server that is silent for too long is given up, before its answer and in it.
func TestIdle(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}, func(h *config.HostFile) { h.Serve.IdleTimeout = 10 * time.Second })
	resp, err := s.Do(s.request(t, http.MethodGet, "/mcp", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if a := s.post(t, look); a.Status != 504 || s.Log.Last(audit.RelayFailed)["reason"] != "mcp_server_timeout" {
		t.Errorf("status %d, want 504: %s", a.Status, a.Body)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ends as if the server had ended it")
	}
}

// Trailers and answers before the answer are passed on, without what no client gets.
func TestTrailersAndEarlyHints(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Link", "</style.css>; rel=preload")
		h.Set("Set-Cookie", "early=1")
		w.WriteHeader(http.StatusEarlyHints)
		h.Del("Link")
		h.Set("Trailer", "X-Checksum, Set-Cookie")
		io.WriteString(w, "{}")
		http.NewResponseController(w).Flush()
		h.Set("X-Checksum", "7")
		h.Set("Set-Cookie", "late=1")
	})
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n%s", servertest.Host, s.token, len(look), look)
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"HTTP/1.1 103 Early Hints", "Link: </style.css>", "X-Checksum: 7"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "early=1") || strings.Contains(string(text), "late=1") {
		t.Errorf("a cookie in\n%s", text)
	}
}
