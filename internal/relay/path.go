package relay

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// paths maps the public paths of a server to its own, and back. All paths are
// percent-encoded.
type paths struct {
	public string // without a slash at the end
	// exact is the server's path for public itself. base, without a slash at the end, is
	// that for what is below public.
	exact, base string
	query       string // that of the configured endpoint
	origin      url.URL
	// sse is the path of the event stream, if the server speaks HTTP+SSE, the transport
	// of MCP 2024-11-05, which takes messages at another path; else "".
	sse string
}

// pathsOf returns the paths of an MCP server.
func pathsOf(r *resource.Resource) paths {
	own := r.Endpoint.EscapedPath()
	p := paths{public: r.Path, exact: own, base: strings.TrimSuffix(own, "/"), query: r.Endpoint.RawQuery, origin: url.URL{Scheme: r.Endpoint.Scheme, Host: r.Endpoint.Host}}
	if p.exact == "" {
		p.exact = "/"
	}
	if strings.HasSuffix(p.base, "/sse") {
		p.sse, p.base = p.base, strings.TrimSuffix(path.Dir(p.base), "/")
		if !strings.HasSuffix(p.public, "/sse") { // the public path is above the stream's
			p.exact = p.base + "/"
		}
	}
	return p
}

// pathsOfPage returns the paths of a page. They are the same at the server, whose pages
// are beside its MCP endpoint and not below it.
func pathsOfPage(r *resource.Resource) paths {
	p := paths{public: r.Path, exact: r.Path, base: r.Path, origin: url.URL{Scheme: r.Endpoint.Scheme, Host: r.Endpoint.Host}}
	if p.exact == "" {
		p.exact = "/"
	}
	return p
}

// toServer returns the server's path for a public path that the resource covers.
func (p *paths) toServer(public string) string {
	if rest := strings.TrimPrefix(public, p.public); rest != "" {
		return p.base + rest
	}
	return p.exact
}

// toPublic returns the public path for one of the server's. ok is false if there is none.
func (p *paths) toPublic(own string) (public string, ok bool) {
	if own == p.exact {
		return p.public, true
	}
	rest, ok := strings.CutPrefix(own, p.base)
	if !ok || rest != "" && rest[0] != '/' || p.public+rest == "" {
		return "", false
	}
	return p.public + rest, true
}

// reference resolves a URL that the server wrote, relative to from, a path of the server.
// ok is false if it leads to another origin.
func (p *paths) reference(from, written string) (path, query string, ok bool) {
	u, err := url.Parse(written)
	if err != nil {
		return "", "", false
	}
	at := p.origin
	at.Path, at.RawPath = unescaped(from), from
	u = at.ResolveReference(u)
	if !sameOrigin(u, &p.origin) || u.User != nil || u.Fragment != "" {
		return "", "", false
	}
	return u.EscapedPath(), u.RawQuery, true
}

func sameOrigin(a, b *url.URL) bool {
	port := map[string]string{"http": "80", "https": "443"}
	of := func(u *url.URL) string {
		if u.Port() != "" {
			return u.Port()
		}
		return port[u.Scheme]
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && of(a) == of(b)
}

func unescaped(path string) string {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return plain
}

// public returns the public path for one of the server's. ok is false if requests to it
// would not reach the same resource.
func (x *exchange) public(own string) (path string, ok bool) {
	path, ok = x.server.paths.toPublic(own)
	return path, ok && x.decision.Host.At(path) == x.decision.Resource && !x.endpoint.Owned(unescaped(path))
}

// findTarget sets the URL at the server that the request goes to.
func (x *exchange) findTarget() *fault {
	p := &x.server.paths
	own, query := p.toServer(x.path), x.in.URL.RawQuery
	if p.sse != "" && x.in.Method == http.MethodPost {
		var f *fault
		if query, f = x.openMessages(own, query); f != nil {
			return f
		}
	}
	switch {
	case query == "":
		query = p.query
	case p.query != "":
		query = p.query + "&" + query
	}
	target := p.origin
	target.Path, target.RawPath, target.RawQuery = unescaped(own), own, query
	x.target = &target
	return nil
}
