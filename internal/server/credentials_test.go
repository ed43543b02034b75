package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// lockedServer is an MCP server that wants a credential. It keeps what it was shown.
type lockedServer struct {
	*httptest.Server
	mu     sync.Mutex
	wants  string
	shown  []string
	answer http.HandlerFunc // instead of the usual answer
}

func newLockedServer(t *testing.T, wants string) *lockedServer {
	t.Helper()
	l := &lockedServer{wants: wants}
	l.Server = httptest.NewServer(http.HandlerFunc(l.serve))
	t.Cleanup(func() { l.CloseClientConnections(); l.Close() })
	return l
}

func (l *lockedServer) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = append(l.shown, strings.Join(r.Header["Authorization"], "|"))
	switch {
	case r.Header.Get("Authorization") != l.wants:
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	case l.answer != nil:
		l.answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Authorization", l.wants) // a server that is careless
	result := `{"tools":[{"name":"look","inputSchema":{"type":"object"}}]}`
	switch {
	case strings.Contains(string(body), `"initialize"`):
		result = `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"locked","version":"1"}}`
	case strings.Contains(string(body), "server/discover"):
		w.WriteHeader(http.StatusBadRequest)
		return
	case !strings.Contains(string(body), `"id"`):
		w.WriteHeader(http.StatusAccepted)
		return
	}
	id := "1"
	if _, rest, ok := strings.Cut(string(body), `"id":`); ok {
		id = strings.TrimSpace(rest[:strings.IndexAny(rest, ",}")])
	}
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}

func (l *lockedServer) want(credential string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wants, l.shown = credential, nil
}

func (l *lockedServer) saw() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.shown...)
}

// startLocked starts a service in front of a server that wants a credential, which
// stands in a file.
func startLocked(t *testing.T, l *lockedServer, edit func(*config.HostFile)) (s *servertest.Service, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "credential")
	if err := os.WriteFile(file, []byte("first-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return servertest.Start(t, servertest.Options{Files: map[string]string{file: "first-secret\n"}, Edit: func(f *config.File) {
		h := &f.Proxy.Hosts[0]
		h.Endpoint, h.ServerCredential = l.URL+"/mcp", outbound.CredentialFile{File: file}
		edit(h)
	}}), file
}

const lookCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":{}}}`

// A served MCP server gets the credential instead of the client's token, with
// each request and when its tools are listed; a file that changes is read again; the
// client never sees any of it.
func TestServerCredential(t *testing.T) {
	l := newLockedServer(t, "Bearer first-secret")
	s, file := startLocked(t, l, func(h *config.HostFile) { h.Serve.Enabled = true })
	c := s.NewClient(t, servertest.Host, nil)
	token := c.AccessToken(t, s.NewBrowser()) // the tools are listed for the consent page
	for _, shown := range l.saw() {
		if shown != "Bearer first-secret" {
			t.Errorf("the server was shown %q", shown)
		}
	}
	call := func() *servertest.Answer {
		return s.Send(t, servertest.Request(t, http.MethodPost, servertest.Resource, lookCall, "Content-Type", "application/json", "Authorization", "Bearer "+token))
	}
	unseen := func(a *servertest.Answer) {
		t.Helper()
		if all := fmt.Sprint(a.Header) + a.Body; strings.Contains(all, "secret") {
			t.Errorf("the client sees %s", all)
		}
	}
	a := call()
	if a.Status != http.StatusOK || a.Header.Get("Authorization") != "" {
		t.Fatalf("%d %v %s", a.Status, a.Header, a.Body)
	}
	unseen(a)

	l.want("Bearer second-secret")
	a = call()
	if e := s.Log.Last(audit.RelayFailed); a.Status != http.StatusBadGateway || e["reason"] != "mcp_server_credential" || a.Header.Get("Www-Authenticate") != "" {
		t.Errorf("%d %v %v", a.Status, a.Header, e)
	}
	unseen(a)
	if _, ready := s.Management(t, "/readyz"); !strings.Contains(ready, "refuses the credential of serverCredential") {
		t.Errorf("readyz says %s", ready)
	}
	if err := os.WriteFile(file, []byte("second-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); call().Status != http.StatusOK; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a new credential is not read")
		}
	}
	if _, ready := s.Management(t, "/readyz"); strings.Contains(ready, "serverCredential") {
		t.Errorf("readyz says %s", ready)
	}
	// A file that cannot be used changes nothing.
	if err := os.WriteFile(file, []byte("two\nlines-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if a := call(); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if log := s.Log.String(); strings.Contains(log, "-secret") || !strings.Contains(log, "more than one line") {
		t.Error("the log has the credential, or says nothing of the broken file")
	}
}

// A redirect of the server, to itself or to another, takes the credential nowhere.
func TestServerCredentialAndRedirects(t *testing.T) {
	elsewhere := newLockedServer(t, "")
	l := newLockedServer(t, "Bearer first-secret")
	s, _ := startLocked(t, l, func(h *config.HostFile) { h.Serve.Enabled = true })
	c := s.NewClient(t, servertest.Host, nil)
	token := c.AccessToken(t, s.NewBrowser())
	for _, to := range []string{elsewhere.URL + "/mcp", "/mcp/other"} {
		l.mu.Lock()
		l.shown = nil
		l.answer = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
		l.mu.Unlock()
		s.Send(t, servertest.Request(t, http.MethodPost, servertest.Resource, lookCall, "Content-Type", "application/json", "Authorization", "Bearer "+token))
		if n := len(l.saw()); n != 1 || len(elsewhere.saw()) > 0 {
			t.Errorf("%s: %d requests, elsewhere %v", to, n, elsewhere.saw())
		}
	}
}

// A gateway gets it where the configuration says so, and with an allowed request alone.
func TestServerCredentialAtGateways(t *testing.T) {
	for _, toGateway := range []bool{true, false} {
		l := newLockedServer(t, "Bearer first-secret")
		s, _ := startLocked(t, l, func(h *config.HostFile) { h.ServerCredential.ToGateway = toGateway })
		c := s.NewClient(t, servertest.Host, nil)
		token := c.AccessToken(t, s.NewBrowser())
		want := ""
		if toGateway {
			want = "Bearer first-secret"
		}
		if a := s.MustPass(t, servertest.Resource, token); a.Header.Get("Authorization") != want {
			t.Errorf("%v: %v", toGateway, a.Header)
		}
		for _, bad := range []string{"", "wrong"} {
			if a := s.Ask(t, servertest.Resource, bad); a.Status == http.StatusOK || a.Header.Get("Authorization") != "" || strings.Contains(fmt.Sprint(a), "first-secret") {
				t.Errorf("%v: %d %v", toGateway, a.Status, a.Header)
			}
		}
		if len(l.saw()) == 0 {
			t.Error("the tools were not listed")
		}
	}
}
