package servertest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// gateway does what Traefik does with forwardAuth, in a few lines: before each
// request to the MCP server it asks the service over HTTP, passes on 200 with
// the identity headers of the answer, and returns 401 and 403 to the client.
// The service's own paths go to the service unasked.
type gateway struct {
	service  *url.URL // the protocol listener
	identity []string // headers taken from the answer, never from the client
	toServer http.Handler
	toAuth   http.Handler
	client   *http.Client
}

// NewGateway returns a gateway in front of an MCP server, for tests that put
// something of their own around it. identity are the headers that the service sets.
func NewGateway(service, mcpServer *url.URL, identity []string) http.Handler {
	forward := func(to *url.URL) http.Handler {
		return &httputil.ReverseProxy{
			FlushInterval: -1, // server-sent events must not wait in a buffer
			ErrorLog:      log.New(io.Discard, "", 0),
			Rewrite: func(p *httputil.ProxyRequest) {
				p.SetURL(to)
				p.Out.Host = p.In.Host
			},
		}
	}
	return &gateway{
		service: service, identity: identity, toServer: forward(mcpServer), toAuth: forward(service),
		client: &http.Client{
			Timeout:       5 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if server.Owns(r.URL.Path) {
		relay(g.toAuth, w, r)
		return
	}
	if allowBrowsers(w, r) {
		return
	}
	for _, name := range g.identity {
		r.Header.Del(name)
	}
	answer, err := g.ask(r.Context(), r)
	if err != nil {
		http.Error(w, "the authorization service does not answer", http.StatusServiceUnavailable)
		return
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		for _, name := range g.identity {
			r.Header[http.CanonicalHeaderKey(name)] = answer.Header.Values(name)
		}
		relay(g.toServer, w, r)
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		for _, name := range []string{"WWW-Authenticate", "DPoP-Nonce", "Content-Type", "Cache-Control"} {
			if v := answer.Header.Get(name); v != "" {
				w.Header().Set(name, v)
			}
		}
		w.WriteHeader(answer.StatusCode)
		io.Copy(w, io.LimitReader(answer.Body, 64<<10))
	case http.StatusSeeOther: // a person is sent to sign in for a page
		w.Header().Set("Location", answer.Header.Get("Location"))
		w.WriteHeader(answer.StatusCode)
	default: // fail closed
		http.Error(w, fmt.Sprintf("the authorization service answered %d", answer.StatusCode), http.StatusServiceUnavailable)
	}
}

// relay passes a request on whose answer may begin, as an event stream, while
// its body is still being read. Without full duplex net/http closes the body at
// the first byte of the answer, and the transport then cuts the answer off.
func relay(to http.Handler, w http.ResponseWriter, r *http.Request) {
	// Only HTTP/1 needs it; where it is not possible nothing changes.
	_ = http.NewResponseController(w).EnableFullDuplex()
	to.ServeHTTP(w, r)
}

// allowBrowsers lets web clients of any origin read the answer, which is safe
// because requests are allowed by a token and not by a cookie. It answers a preflight
// itself, with which a browser sends no token, and reports whether it did.
func allowBrowsers(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Mcp-Session-Id")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP, Last-Event-ID, Mcp-Method, Mcp-Name, MCP-Protocol-Version, Mcp-Session-Id")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// ask sends the sub-request of the dialect that Traefik and Caddy speak: the
// client's headers without its body, and where it wanted to go. The client's own
// headers of these names are replaced.
func (g *gateway) ask(ctx context.Context, r *http.Request) (*http.Response, error) {
	question := g.service.JoinPath(forwardauth.Path, "forwarded").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, question, nil)
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	req.Header.Del("Content-Length")
	req.Header.Del("Transfer-Encoding")
	req.Header.Set("X-Forwarded-Method", r.Method)
	req.Header.Set("X-Forwarded-Proto", "http")
	req.Header.Set("X-Forwarded-Host", r.Host)
	req.Header.Set("X-Forwarded-Uri", r.RequestURI)
	return g.client.Do(req)
}
