package doctor

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/net/html"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

var passwordHash = sync.OnceValue(func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.DefaultCost)
	if err != nil {
		panic(err)
	}
	return string(hash)
})

// stack is a good set-up: the service, a gateway and an MCP server with
// sessions. What stands in front of it can be exchanged.
type stack struct {
	mcpURL string
	bare   http.Handler // the gateway
	good   http.Handler // the gateway, which sees bodies
	front  atomic.Pointer[http.Handler]
}

func newStack(t *testing.T) *stack {
	t.Helper()
	return newStackOf(t, "", nil)
}

// newStackOf is newStack with more keys of the host, each after a comma, and more
// sections, for the URL of the MCP server.
func newStackOf(t *testing.T, host string, sections func(mcpURL string) string) *stack {
	t.Helper()
	return newStackAt(t, "127.0.0.1:0", host, sections)
}

// newStackAt is newStackOf with the front at an address.
func newStackAt(t *testing.T, address, host string, sections func(mcpURL string) string) *stack {
	t.Helper()
	more := host
	st := &stack{}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*st.front.Load()).ServeHTTP(w, r) }))
	front.Listener.Close()
	var err error
	if front.Listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	front.Start()
	t.Cleanup(front.Close)
	tools := httptest.NewServer(http.StripPrefix("/mcp", sample.Handler(sample.Options{})))
	t.Cleanup(tools.Close)
	if host = strings.TrimPrefix(front.URL, "http://"); sections == nil {
		sections = func(string) string { return "" }
	}
	cfg, err := config.Parse(fmt.Appendf(nil, `
provider:
  name: static
  users:
    - {username: demo, passwordHash: %q, email: demo@example.com, name: Demo User}
proxy:
  hosts:
    - {host: %q, scheme: http, endpoint: "%s/mcp"%s}
%s`, passwordHash(), host, tools.URL, more, sections(front.URL+"/mcp")), os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	service, err := server.New(cfg, server.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Serve(ctx, server.Listeners{Protocol: listeners[0], Management: listeners[1]}) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	parse := func(raw string) *url.URL {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	st.mcpURL = front.URL + "/mcp"
	st.bare = servertest.NewGateway(parse("http://"+listeners[0].Addr().String()), parse(tools.URL), cfg.IdentityHeaders.Names())
	st.good = when(olderCall, status(http.StatusForbidden))(st, st.bare)
	st.put(st.good)
	st.await(t, "notes:read")
	return st
}

// await waits until the service has heard of the MCP server's scopes.
func (st *stack) await(t *testing.T, scope string) {
	t.Helper()
	for range 3000 {
		resp, err := http.Post(st.mcpURL, "application/json", strings.NewReader(hello))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if strings.Contains(resp.Header.Get("WWW-Authenticate"), scope) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the service does not get the MCP server's scopes")
}

func (st *stack) put(h http.Handler) { st.front.Store(&h) }

func (st *stack) origin() string { return strings.TrimSuffix(st.mcpURL, "/mcp") }

// run examines the stack; o may be the zero value.
func (st *stack) run(t *testing.T, o Options) Report {
	t.Helper()
	if o.LoginTimeout == 0 {
		o.LoginTimeout = time.Minute // hashing a password takes seconds under -race
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.URL == "" {
		o.URL = st.mcpURL
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// faults lists the ids of the faults in a report, with commas.
func faults(r Report) string {
	var ids []string
	for _, f := range r.Findings {
		for _, s := range f.Faults {
			ids = append(ids, s.ID)
		}
	}
	return strings.Join(ids, ", ")
}

// signIn returns an Open that signs in as a browser would, without scripts.
func signIn(t *testing.T) func(string) {
	return func(start string) {
		ctx, done := t.Context(), make(chan struct{})
		go func() {
			defer close(done)
			if err := walkThrough(ctx, start); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}()
		t.Cleanup(func() { <-done })
	}
}

func walkThrough(ctx context.Context, at string) error {
	cookies := map[string]string{}
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	method, body, from := http.MethodGet, "", ""
	for range 10 {
		req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(body))
		if err != nil {
			return err
		}
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", from)
		}
		for name, value := range cookies {
			req.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		page, err := html.Parse(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			return err
		}
		for _, c := range resp.Cookies() {
			cookies[c.Name] = c.Value
		}
		here := resp.Request.URL
		if here.Path == "/callback" && resp.StatusCode == http.StatusOK {
			return nil
		}
		from = here.Scheme + "://" + here.Host
		if to := resp.Header.Get("Location"); to != "" {
			next, err := here.Parse(to)
			if err != nil {
				return err
			}
			at, method, body = next.String(), http.MethodGet, ""
			continue
		}
		action, values := fillIn(page)
		if action == "" {
			return fmt.Errorf("%s answered %d without a form: %s", here.Path, resp.StatusCode, words(page))
		}
		next, err := here.Parse(action)
		if err != nil {
			return err
		}
		at, method, body = next.String(), http.MethodPost, values.Encode()
	}
	return fmt.Errorf("the sign-in does not end")
}

// fillIn fills in the form of a page.
func fillIn(page *html.Node) (action string, values url.Values) {
	values = url.Values{}
	for n := range page.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		a := map[string]string{}
		for _, at := range n.Attr {
			a[at.Key] = at.Val
		}
		_, checked := a["checked"]
		switch {
		case n.Data == "form":
			action = a["action"]
		case n.Data == "button" && (a["value"] == "deny" || a["name"] == "select"):
		case n.Data == "button" && a["name"] != "":
			values.Set(a["name"], a["value"])
		case n.Data != "input" || a["name"] == "" || a["type"] == "checkbox" && !checked:
		case a["type"] == "password":
			values.Set(a["name"], "correct horse")
		case a["name"] == "username":
			values.Set(a["name"], "demo")
		default:
			values.Add(a["name"], a["value"])
		}
	}
	return action, values
}

// words is what a person reads on a page.
func words(page *html.Node) string {
	var out []string
	for n := range page.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			out = append(out, strings.Fields(n.Data)...)
		}
	}
	return strings.Join(out, " ")
}
