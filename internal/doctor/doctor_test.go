package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
)

func TestGoodSetup(t *testing.T) {
	st := newStack(t)
	t.Run("without signing in", func(t *testing.T) {
		r := st.run(t, Options{Register: true})
		if got := faults(r); got != "" || !r.OK {
			t.Errorf("faults in a good set-up: %s\n%s", got, text(r, ""))
		}
		for _, f := range r.Findings {
			if f.Group != "Sign-in" && f.Status != Passed && !strings.HasPrefix(f.Detail, "not asked for") {
				t.Errorf("%s: %s %s", f.ID, f.Status, f.Detail)
			}
		}
		if want := []string{st.origin()}; !slices.Equal(r.Origins, want) {
			t.Errorf("talked to %q, want only %q", r.Origins, want)
		}
	})
	t.Run("with a sign-in", func(t *testing.T) {
		var opened string
		walk := signIn(t)
		r := st.run(t, Options{Login: true, Open: func(at string) { opened = at; walk(at) }})
		if got := faults(r); got != "" {
			t.Errorf("faults in a good set-up: %s\n%s", got, text(r, ""))
		}
		for _, id := range []string{"login", "exchange", "session", "stream"} {
			if f := finding(r, id); f.Status != Passed {
				t.Errorf("%s: %s %s", id, f.Status, f.Detail)
			}
		}
		for _, want := range []string{"code_challenge_method=S256", "resource=", "state="} {
			if !strings.Contains(opened, want) {
				t.Errorf("authorization URL without %s: %s", want, opened)
			}
		}
	})
}

// broken is a set-up with one thing wrong, and the fault that must be named.
type broken struct {
	want string
	// wrap puts something between client and gateway.
	wrap func(st *stack, next http.Handler) http.Handler
	opt  Options
	url  func(st *stack) string // what the client is given, if not the right URL
}

// onPath replaces the answer at one path.
func onPath(path string, h http.HandlerFunc) func(*stack, http.Handler) http.Handler {
	return when(func(r *http.Request) bool { return r.URL.Path == path }, h)
}

func when(match func(*http.Request) bool, h http.HandlerFunc) func(*stack, http.Handler) http.Handler {
	return func(_ *stack, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				h(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// rewrite changes answers after the fact.
func rewrite(match func(*http.Request) bool, change func(st *stack, a *httptest.ResponseRecorder)) func(*stack, http.Handler) http.Handler {
	return func(st *stack, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !match(r) {
				next.ServeHTTP(w, r)
				return
			}
			a := httptest.NewRecorder()
			next.ServeHTTP(a, r)
			change(st, a)
			maps.Copy(w.Header(), a.Header())
			w.WriteHeader(a.Code)
			w.Write(a.Body.Bytes())
		})
	}
}

// replace changes strings in the bodies below a path; old and new may say ORIGIN.
func replace(path, old, new string) func(*stack, http.Handler) http.Handler {
	return rewrite(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, path) }, func(st *stack, a *httptest.ResponseRecorder) {
		in := func(s string) string { return strings.ReplaceAll(s, "ORIGIN", st.origin()) }
		body := strings.ReplaceAll(a.Body.String(), in(old), in(new))
		a.Body = bytes.NewBufferString(body)
		a.Header().Del("Content-Length")
	})
}

// header changes the header of answers to unauthorized requests for the MCP server.
func header(name string, change func(st *stack, old string) string) func(*stack, http.Handler) http.Handler {
	return rewrite(isMCP, func(st *stack, a *httptest.ResponseRecorder) {
		if v := change(st, a.Header().Get(name)); v != "" {
			a.Header().Set(name, v)
		} else {
			a.Header().Del(name)
		}
	})
}

func isMCP(r *http.Request) bool { return r.URL.Path == "/mcp" && r.Method != http.MethodOptions }

func anonymous(method string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return isMCP(r) && r.Method == method && r.Header.Get("Authorization") == ""
	}
}

func gate(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="http://127.0.0.1/.well-known/oauth-protected-resource"`)
	w.WriteHeader(http.StatusUnauthorized)
}

func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.Write([]byte("<!doctype html><title>Welcome</title>"))
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// ping is an MCP server that has been reached.
func ping(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
}

// answers is a fixed answer; header is name, value, name, value, …
func answers(code int, media, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
}

const prmPath = wellKnownResource + "/mcp"

var brokenSetups = map[string]broken{
	"no forward auth at all":          {want: "post.unprotected", wrap: when(anonymous("POST"), status(200))},
	"POST redirected to a slash":      {want: "post.redirected", wrap: when(anonymous("POST"), redirect("/mcp/"))},
	"POST redirected to a login page": {want: "post.redirected", wrap: when(anonymous("POST"), redirect("/login"))},
	"403 for everybody":               {want: "post.forbidden", wrap: when(anonymous("POST"), status(403))},
	"no such route":                   {want: "post.missing", wrap: when(anonymous("POST"), status(404))},
	"POST not allowed":                {want: "post.method", wrap: when(anonymous("POST"), status(405))},
	"nginx made 500 of it":            {want: "post.failing", wrap: when(anonymous("POST"), status(500))},
	"Host rewritten":                  {want: "post.misdirected", wrap: when(anonymous("POST"), status(421))},
	"a login page of another proxy":   {want: "post.page", wrap: when(anonymous("POST"), page)},
	"a firewall refuses": {want: "post.firewall", wrap: when(anonymous("POST"), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<title>Attention Required!</title>")
	})},
	"nginx refuses by itself, or because the service said 403": {want: "post.forbidden", wrap: when(anonymous("POST"), answers(403, "text/html", "<html><center><h1>403 Forbidden</h1></center><hr><center>nginx/1.22.1</center></html>"))},
	"a challenge for browsers with 503":                        {want: "post.firewall", wrap: when(anonymous("POST"), answers(503, "text/html", "<title>Just a moment...</title>", "Cf-Mitigated", "challenge"))},
	"a challenge for browsers with 202":                        {want: "post.firewall", wrap: when(anonymous("POST"), answers(202, "text/html", "", "X-Amzn-Waf-Action", "challenge"))},
	"too many requests":                                        {want: "post.limited", wrap: when(anonymous("POST"), answers(429, "application/json", `{}`, "Retry-After", "3600"))},
	"a CDN that does not reach the gateway":                    {want: "post.origin", wrap: when(anonymous("POST"), answers(526, "text/html", "<title>Invalid SSL certificate</title>"))},
	"an odd status":                                            {want: "post.unexpected", wrap: when(anonymous("POST"), status(400))},
	"401 without a challenge":                                  {want: "challenge.missing", wrap: header("WWW-Authenticate", func(*stack, string) string { return "" })},
	"Basic":                                                    {want: "challenge.scheme", wrap: header("WWW-Authenticate", func(*stack, string) string { return `Basic realm="x"` })},
	"garbage for a challenge":                                  {want: "challenge.malformed", wrap: header("WWW-Authenticate", func(*stack, string) string { return `Bearer "` })},
	"challenge doubled":                                        {want: "challenge.several", wrap: header("WWW-Authenticate", func(_ *stack, old string) string { return old + ", " + old })},
	"parameters stripped from the challenge": {want: "challenge.stripped", wrap: header("WWW-Authenticate", func(_ *stack, old string) string {
		if strings.Contains(old, "invalid_token") {
			return `Bearer error="invalid_token"`
		}
		return "Bearer"
	})},
	"metadata address relative": {want: "metadata-url.relative", wrap: header("WWW-Authenticate", func(st *stack, old string) string {
		return strings.ReplaceAll(old, st.origin(), "")
	})},
	"metadata address on plain http": {want: "metadata-url.insecure", wrap: header("WWW-Authenticate", func(st *stack, old string) string {
		return strings.ReplaceAll(old, st.origin(), "http://mcp.example.com")
	})},
	"metadata address with an inner port": {want: "metadata-url.foreign", wrap: func(st *stack, next http.Handler) http.Handler {
		inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // dies with the test binary
			r.Host = strings.TrimPrefix(st.origin(), "http://")
			next.ServeHTTP(w, r)
		}))
		return header("WWW-Authenticate", func(st *stack, old string) string { return strings.ReplaceAll(old, st.origin(), inner.URL) })(st, next)
	}},

	"metadata 404":                    {want: "metadata.missing", wrap: onPath(prmPath, http.NotFound)},
	"well-known behind forward auth":  {want: "metadata.protected", wrap: when(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/.well-known/") }, gate)},
	"HTML instead of metadata":        {want: "metadata.swallowed", wrap: onPath(prmPath, page)},
	"the MCP server answers metadata": {want: "metadata.swallowed", wrap: onPath(prmPath, status(400))},
	"metadata redirected":             {want: "metadata.redirected", wrap: onPath(prmPath, redirect("/.well-known/oauth-protected-resource"))},
	"metadata 502":                    {want: "metadata.failing", wrap: onPath(prmPath, status(502))},
	"metadata behind a firewall":      {want: "metadata.filtered", wrap: onPath(prmPath, answers(403, "text/html", "<title>Attention Required!</title>"))},
	"metadata limited":                {want: "metadata.limited", wrap: onPath(prmPath, answers(429, "text/plain", "slow down", "Retry-After", "3600"))},
	"metadata of a CDN":               {want: "metadata.origin", wrap: onPath(prmPath, answers(522, "text/html", ""))},
	"metadata refused by nginx":       {want: "metadata.protected", wrap: onPath(prmPath, answers(403, "text/html", "<hr><center>openresty</center>"))},
	"metadata 421":                    {want: "metadata.misdirected", wrap: onPath(prmPath, status(421))},
	"metadata is no JSON":             {want: "metadata.malformed", wrap: replace(prmPath, "{", "")},
	"challenge names the root, path missing": {want: "metadata-path.missing", wrap: func(st *stack, next http.Handler) http.Handler {
		next = onPath(prmPath, http.NotFound)(st, next)
		next = replace(wellKnownResource, `"resource":"ORIGIN"`, `"resource":"ORIGIN/mcp"`)(st, next)
		return header("WWW-Authenticate", func(_ *stack, old string) string { return strings.ReplaceAll(old, prmPath, wellKnownResource) })(st, next)
	}},
	"no resource":              {want: "resource.absent", wrap: replace(prmPath, `"resource"`, `"x"`)},
	"resource with a slash":    {want: "resource.trailing-slash", wrap: replace(prmPath, "/mcp", "/mcp/")},
	"resource with scheme":     {want: "resource.scheme", wrap: replace(prmPath, `"resource":"http:`, `"resource":"https:`)},
	"resource with inner port": {want: "resource.port", wrap: replace(prmPath, `"resource":"ORIGIN/mcp"`, `"resource":"http://127.0.0.1:1/mcp"`)},
	"resource of another host": {want: "resource.host", wrap: replace(prmPath, `"resource":"http://127.0.0.1`, `"resource":"http://mcp.svc`)},
	"resource is the origin":   {want: "resource.path", wrap: replace(prmPath, `"resource":"ORIGIN/mcp"`, `"resource":"ORIGIN"`)},
	"client given a slash":     {want: "resource.trailing-slash", url: func(st *stack) string { return st.mcpURL + "/" }},
	"no authorization server":  {want: "servers.none", wrap: replace(prmPath, "authorization_servers", "x")},
	"http authorization server": {want: "servers.unusable", wrap: replace(prmPath, `"authorization_servers":["http://127.0.0.1`,
		`"authorization_servers":["http://mcp.example.com`)},

	"no server metadata": {want: "as.missing", wrap: when(func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.Path, wellKnownOAuth) || strings.HasPrefix(r.URL.Path, wellKnownOpenID)
	}, http.NotFound)},
	"HTML in place of the first variant": {want: "as.swallowed", wrap: onPath(wellKnownOAuth, page)},
	"issuer with a slash":                {want: "issuer.mismatch", wrap: replace("/.well-known/o", `"issuer":"ORIGIN"`, `"issuer":"ORIGIN/"`)},
	"issuer of an inner host":            {want: "issuer.mismatch", wrap: replace("/.well-known/o", `"issuer":"http://127.0.0.1`, `"issuer":"http://mcp-forward-auth.auth.svc`)},
	"no token endpoint":                  {want: "endpoints.missing", wrap: replace("/.well-known/o", `"token_endpoint"`, `"x"`)},
	"http endpoint":                      {want: "endpoints.insecure", wrap: replace("/.well-known/o", `"authorization_endpoint":"http://127.0.0.1`, `"authorization_endpoint":"http://mcp.example.com`)},
	"authorize 404":                      {want: "authorize.missing", wrap: onPath("/authorize", http.NotFound)},
	"authorize behind forward auth":      {want: "authorize.protected", wrap: onPath("/authorize", gate)},
	"token 404":                          {want: "token.missing", wrap: when(func(r *http.Request) bool { return r.URL.Path == "/token" && r.Method == "POST" }, http.NotFound)},
	"token behind forward auth":          {want: "token.protected, cors-endpoints.gated", wrap: onPath("/token", gate)},
	"token behind a firewall":            {want: "token.filtered, cors-endpoints.hidden", wrap: onPath("/token", answers(403, "text/html", "<title>Attention Required!</title>"))},
	"token limited":                      {want: "token.limited", wrap: onPath("/token", answers(429, "application/json", `{"error":"slow"}`))},
	"token redirected":                   {want: "token.redirected", wrap: rewrite(func(r *http.Request) bool { return r.URL.Path == "/token" && r.Method == "POST" }, func(_ *stack, a *httptest.ResponseRecorder) { a.Code = 308 })},
	"token is a page": {want: "token.swallowed", wrap: rewrite(func(r *http.Request) bool { return r.URL.Path == "/token" && r.Method == "POST" }, func(_ *stack, a *httptest.ResponseRecorder) {
		a.Code = 200
		a.Header().Set("Content-Type", "text/html")
	})},
	"no S256": {want: "pkce.missing", wrap: replace("/.well-known/o", `"S256"`, `"plain"`)},
	"no way to register": {want: "clients.none", wrap: func(st *stack, next http.Handler) http.Handler {
		next = replace("/.well-known/o", `"registration_endpoint"`, `"x"`)(st, next)
		return replace("/.well-known/o", `"client_id_metadata_document_supported"`, `"y"`)(st, next)
	}},
	"private key published":            {want: "keys.private", wrap: replace("/openid/v1/jwks", `"kty":`, `"d":"c2VjcmV0","kty":`)},
	"weak key":                         {want: "keys.weak", wrap: replace("/openid/v1/jwks", `"n":"`, `"n":"c2hvcnQ","x":"`)},
	"no key":                           {want: "keys.unusable", wrap: replace("/openid/v1/jwks", `"use":"sig"`, `"use":"enc"`)},
	"keys 404":                         {want: "keys.missing", wrap: onPath("/openid/v1/jwks", http.NotFound)},
	"registration refused":             {want: "register.refused", opt: Options{Register: true}, wrap: when(func(r *http.Request) bool { return r.URL.Path == "/register" && r.Method == "POST" }, status(400))},
	"registration limited":             {want: "register.limited", opt: Options{Register: true}, wrap: when(func(r *http.Request) bool { return r.URL.Path == "/register" && r.Method == "POST" }, answers(429, "application/json", `{}`))},
	"registration 404":                 {want: "register.missing", opt: Options{Register: true}, wrap: when(func(r *http.Request) bool { return r.URL.Path == "/register" && r.Method == "POST" }, http.NotFound)},
	"registration behind forward auth": {want: "register.protected", opt: Options{Register: true}, wrap: when(func(r *http.Request) bool { return r.URL.Path == "/register" && r.Method == "POST" }, gate)},

	"HEAD is not gated": {want: "methods.open", wrap: when(func(r *http.Request) bool { return isMCP(r) && r.Method == http.MethodHead }, status(200))},
	"PUT is not gated":  {want: "methods.open", wrap: when(func(r *http.Request) bool { return isMCP(r) && r.Method == http.MethodPut }, status(204))},
	"OPTIONS is not gated": {want: "methods.open", wrap: when(func(r *http.Request) bool {
		return r.URL.Path == "/mcp" && r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") == ""
	}, ping)},
	"preflight 401":                   {want: "cors-preflight.gated", wrap: when(func(r *http.Request) bool { return r.URL.Path == "/mcp" && r.Method == "OPTIONS" }, gate)},
	"preflight 405":                   {want: "cors-preflight.refused", wrap: when(func(r *http.Request) bool { return r.URL.Path == "/mcp" && r.Method == "OPTIONS" }, status(405))},
	"preflight without Authorization": {want: "cors-preflight.headers", wrap: rewrite(func(r *http.Request) bool { return r.URL.Path == "/mcp" && r.Method == "OPTIONS" }, func(_ *stack, a *httptest.ResponseRecorder) { a.Header().Set("Access-Control-Allow-Headers", "*") })},
	"challenge not exposed":           {want: "cors-challenge.hidden", wrap: header("Access-Control-Expose-Headers", func(*stack, string) string { return "Mcp-Session-Id" })},
	"metadata not for scripts":        {want: "cors-documents.hidden", wrap: rewrite(func(r *http.Request) bool { return r.URL.Path == prmPath }, func(_ *stack, a *httptest.ResponseRecorder) { a.Header().Del("Access-Control-Allow-Origin") })},
	"metadata preflight 401": {want: "cors-documents.gated", wrap: when(func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.Path, "/.well-known/") && r.Method == "OPTIONS"
	}, gate)},
	"token not for scripts": {want: "cors-endpoints.hidden", wrap: rewrite(func(r *http.Request) bool { return r.URL.Path == "/token" }, func(_ *stack, a *httptest.ResponseRecorder) { a.Header().Del("Access-Control-Allow-Origin") })},

	"GET not gated": {want: "get.open", wrap: when(anonymous("GET"), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
	})},
	"DELETE not gated": {want: "delete.open", wrap: when(anonymous("DELETE"), status(400))},
	"GET is not asked about, the server has none":    {want: "get.unasked", wrap: when(anonymous("GET"), status(405))},
	"DELETE is not asked about, the server has none": {want: "delete.unasked", wrap: when(anonymous("DELETE"), status(404))},
	"GET goes past the gate, to nothing":             {want: "get.unasked", wrap: when(anonymous("GET"), status(502))},
	"GET leads to a sign-in for people":              {want: "get.unasked, page-mcp.redirected", wrap: when(anonymous("GET"), redirect("https://sso.example.com/"))},
	"GET is not asked about, the server says so": {want: "get.open", wrap: when(anonymous("GET"), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusMethodNotAllowed)
		io.WriteString(w, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Method not allowed."},"id":null}`)
	})},
	"Authorization does not arrive": {want: "bad-token.unseen", wrap: func(_ *stack, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Authorization")
			next.ServeHTTP(w, r)
		})
	}},
	"a scheme in lower case is not read": {want: "token-scheme.case", wrap: func(_ *stack, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Header.Get("Authorization"), "bearer ") {
				r.Header.Del("Authorization")
			}
			next.ServeHTTP(w, r)
		})
	}},
	"bodies too large for nginx": {want: "large-body.rejected", wrap: when(func(r *http.Request) bool { return r.ContentLength > 1<<20 }, status(413))},
	"a slash more is not gated":  {want: "unasked.path", wrap: when(func(r *http.Request) bool { return r.URL.Path == "/mcp/" }, ping)},
	"no iss":                     {want: "iss.missing", wrap: replace("/.well-known/o", `"authorization_response_iss_parameter_supported"`, `"x"`)},
	"scripts can be registered": {want: "redirects.taken", opt: Options{Register: true}, wrap: when(func(r *http.Request) bool { return r.URL.Path == "/register" && holds(r, "javascript:") }, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"client_id":"x","redirect_uris":["javascript:alert(1)"]}`)
	})},
	"state is demanded": {want: "state.required", opt: Options{Register: true}, wrap: when(func(r *http.Request) bool {
		return r.URL.Path == "/authorize" && r.URL.Query().Has("client_id") && !r.URL.Query().Has("state")
	}, status(400))},
	"errors go straight to the client": {want: "error-redirect.open", opt: Options{Register: true}, wrap: when(func(r *http.Request) bool {
		return r.URL.Path == "/authorize" && r.URL.Query().Get("response_type") == "token"
	}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("redirect_uri")+"?error=unsupported_response_type", http.StatusFound)
	})},
	"any token will do":           {want: "bad-token.accepted", wrap: when(func(r *http.Request) bool { return isMCP(r) && r.Header.Get("Authorization") != "" }, status(200))},
	"bad token 403":               {want: "bad-token.status", wrap: when(func(r *http.Request) bool { return isMCP(r) && r.Header.Get("Authorization") != "" }, status(403))},
	"error code dropped":          {want: "bad-token.code", wrap: header("WWW-Authenticate", func(_ *stack, old string) string { return strings.ReplaceAll(old, "invalid_token", "denied") })},
	"headers too large":           {want: "large-token.rejected", wrap: when(func(r *http.Request) bool { return len(r.Header.Get("Authorization")) > 4<<10 }, status(431))},
	"headers too large for nginx": {want: "large-token.rejected", wrap: when(func(r *http.Request) bool { return len(r.Header.Get("Authorization")) > 4<<10 }, status(400))},
	"X-Original-URL believed": {want: "spoof.admitted", wrap: when(func(r *http.Request) bool {
		return isMCP(r) && strings.Contains(r.Header.Get("X-Original-Url"), "/.well-known/")
	}, status(200))},
	"X-Forwarded-Method believed": {want: "spoof.admitted", wrap: when(func(r *http.Request) bool {
		return isMCP(r) && r.Header.Get("X-Forwarded-Method") == "OPTIONS"
	}, status(200))},
	"another case not gated": {want: "unasked.path", wrap: when(func(r *http.Request) bool { return r.URL.Path == "/MCP" }, ping)},
	"a prefix not gated":     {want: "unasked.path", wrap: when(func(r *http.Request) bool { return r.URL.Path == "/mcp;x" }, ping)},
	"a dot not gated":        {want: "unasked.path", wrap: when(func(r *http.Request) bool { return r.URL.Path == "/./mcp" }, ping)},
	"dots not gated":         {want: "unasked.path", wrap: when(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/../../mcp") }, ping)},
	"another host not gated": {want: "unasked.host", wrap: when(func(r *http.Request) bool { return r.Host == stranger && isMCP(r) }, ping)},
	"a dot after the host not gated": {want: "unasked.host", wrap: when(func(r *http.Request) bool {
		return strings.HasSuffix(r.Host, ".") && isMCP(r)
	}, ping)},
	"X-Forwarded-Host believed": {want: "spoof.reflected", wrap: func(st *stack, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h := r.Header.Get("X-Forwarded-Host"); h != "" && h != r.Host && isMCP(r) {
				w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="http://`+h+`/"`)
				w.WriteHeader(401)
				return
			}
			next.ServeHTTP(w, r)
		})
	}},

	"state cut off": {want: "login.state", opt: Options{Login: true}, wrap: tamper("state", "x")},
	"foreign iss":   {want: "login.iss", opt: Options{Login: true}, wrap: tamper("iss", "https://accounts.example.com")},
	"code refused":  {want: "exchange.refused", opt: Options{Login: true}, wrap: tamper("code", "x")},
	"token answer is no JSON": {want: "exchange.malformed", opt: Options{Login: true}, wrap: rewrite(func(r *http.Request) bool { return r.URL.Path == "/token" }, func(_ *stack, a *httptest.ResponseRecorder) {
		if a.Code == 200 {
			a.Header().Set("Content-Type", "text/plain")
		}
	})},
	"gateway drops the token": {want: "session.denied", opt: Options{Login: true}, wrap: func(_ *stack, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isMCP(r) && !strings.Contains(r.Header.Get("Authorization"), "not-a-token") {
				r.Header.Del("Authorization")
			}
			next.ServeHTTP(w, r)
		})
	}},
	"what the service said of one is kept for others": {want: "cache.admitted", opt: Options{Login: true}, wrap: func(_ *stack, next http.Handler) http.Handler {
		opened := false // requests come one after the other
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if opened = opened || withRealToken(r); opened && isMCP(r) && !withRealToken(r) {
				ping(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}},
	"MCP server down": {want: "session.failed", opt: Options{Login: true}, wrap: when(withRealToken, status(502))},
	"events held back": {want: "stream.buffered", opt: Options{Login: true, StreamTimeout: 200 * time.Millisecond}, wrap: when(func(r *http.Request) bool {
		return withRealToken(r) && r.Method == "GET"
	}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
	"403 header lost": {want: "step-up.bare", opt: Options{Login: true}, wrap: when(outsideScope, status(403))},
	"403 without scope": {want: "step-up.vague", opt: Options{Login: true}, wrap: when(outsideScope, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
		w.WriteHeader(403)
	})},
	"token endpoint knows no such resource": {want: "exchange.target", opt: Options{Login: true}, wrap: when(redeems, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"invalid_target"}`)
	})},
	"calls of older revisions are not decided":  {want: "older.open", opt: Options{Login: true}, wrap: func(st *stack, _ http.Handler) http.Handler { return st.bare }},
	"RS-HDR-02 MCP server reads the body alone": {want: "headers.unchecked", opt: Options{Login: true}, wrap: when(modernListing, status(200))},
}

func withRealToken(r *http.Request) bool {
	return isMCP(r) && strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey")
}

// outsideScope matches the question of check step-up only.
func outsideScope(r *http.Request) bool {
	return isMCP(r) && r.Header.Get("Mcp-Name") != ""
}

// redeems matches the question of check exchange only.
func redeems(r *http.Request) bool { return r.URL.Path == "/token" && holds(r, "code_verifier=") }

// holds reports whether the body of r has the text, and leaves it to be read again.
func holds(r *http.Request, text string) bool {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return bytes.Contains(body, []byte(text))
}

// olderCall matches the question of check older only: a gateway that has the body
// decide would refuse it.
func olderCall(r *http.Request) bool {
	return isMCP(r) && r.Method == http.MethodPost && r.Header.Get("Mcp-Protocol-Version") == older && holds(r, "tools/call")
}

// modernListing matches the questions of check headers only.
func modernListing(r *http.Request) bool {
	return withRealToken(r) && r.Header.Get("Mcp-Protocol-Version") == modern && strings.HasSuffix(r.Header.Get("Mcp-Method"), "/list")
}

func TestHeadersChecked(t *testing.T) {
	st := newStack(t)
	tools := sample.Handler(sample.Options{Stateless: true})
	st.put(when(modernListing, tools.ServeHTTP)(st, st.good))
	r := st.run(t, Options{Login: true, Open: signIn(t)})
	if f := finding(r, "headers"); f.Status != Passed || !strings.Contains(f.Detail, "400") {
		t.Errorf("%+v", f)
	}
}

// What decisions rest on is named for clients of both kinds of revisions.
func TestWhatDecisionsRestOn(t *testing.T) {
	// A call and a list, but not those of the session, which may be of that revision.
	anyOlder := func(r *http.Request) bool {
		return isMCP(r) && r.Header.Get("Mcp-Protocol-Version") == older && holds(r, `{"jsonrpc":"2.0","id":1,"method":"tools/`)
	}
	for want, gate := range map[string]func(*stack) http.Handler{
		"decisions rest on the body, for clients of every revision":                                            func(st *stack) http.Handler { return st.good },
		"decisions rest on headers, and older revisions are refused as a whole":                                func(st *stack) http.Handler { return when(anyOlder, status(http.StatusForbidden))(st, st.bare) },
		"decisions rest on headers for clients of 2026-07-28 and later, and on the token alone for older ones": func(st *stack) http.Handler { return st.bare },
	} {
		st := newStack(t)
		st.put(gate(st))
		f := finding(st.run(t, Options{Login: true, Open: signIn(t)}), "older")
		said := f.Detail
		for _, s := range f.Faults {
			said += s.Saw
		}
		if !strings.HasPrefix(said, want) {
			t.Errorf("%q, want %q", said, want)
		}
		if open := strings.Contains(want, "token alone"); open != (f.Status == Warned) || !open && f.Status != Passed {
			t.Errorf("%s: %v", want, f.Status)
		}
	}
}

// A gateway that turns the 403 into a 401 works for some clients only.
func TestStepUpBy401IsAWarning(t *testing.T) {
	st := newStack(t)
	st.put(when(outsideScope, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="notes:read notes:write", resource_metadata="https://mcp.example.com/x"`)
		w.WriteHeader(http.StatusUnauthorized)
	})(st, st.good))
	r := st.run(t, Options{Login: true, Open: signIn(t)})
	f := finding(r, "step-up")
	if f.Status != Warned || len(f.Faults) != 1 || f.Faults[0].ID != "step-up.unauthorized" {
		t.Errorf("%+v", f)
	}
	if !r.OK || r.Faults != 0 || r.Warnings != 1 {
		t.Errorf("ok %v, %d faults, %d warnings", r.OK, r.Faults, r.Warnings)
	}
	var out strings.Builder
	p := &Printer{Out: &out}
	p.Finding(f)
	p.Summary(r)
	if !strings.Contains(out.String(), "! step-up") || !strings.Contains(out.String(), "no fault found, 1 warning") {
		t.Error(out.String())
	}
}

// tamper changes a parameter on the way back to the client.
func tamper(name, value string) func(*stack, http.Handler) http.Handler {
	return rewrite(func(r *http.Request) bool { return r.URL.Path != "/mcp" }, func(_ *stack, a *httptest.ResponseRecorder) {
		to := a.Header().Get("Location")
		before, query, ok := strings.Cut(to, "/callback?")
		if !ok || strings.HasSuffix(before, "/login") {
			return
		}
		parts := strings.Split(query, "&")
		for i, p := range parts {
			if strings.HasPrefix(p, name+"=") {
				parts[i] = name + "=" + value
			}
		}
		a.Header().Set("Location", before+"/callback?"+strings.Join(parts, "&"))
	})
}

func TestBrokenSetups(t *testing.T) {
	st := newStack(t)
	for _, name := range slices.Sorted(maps.Keys(brokenSetups)) {
		b := brokenSetups[name]
		t.Run(name, func(t *testing.T) {
			h := st.good
			if b.wrap != nil {
				h = b.wrap(st, h)
			}
			st.put(h)
			o := b.opt
			if b.url != nil {
				o.URL = b.url(st)
			}
			if o.Login {
				o.Open = signIn(t)
			}
			r := st.run(t, o)
			if got := faults(r); got != b.want {
				t.Errorf("faults %q, want %q\n%s", got, b.want, text(r, ""))
			}
		})
	}
}

// TestConnections are faults that come before any answer.
func TestConnections(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	hangs := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	for _, test := range []struct {
		name string
		opt  Options
		want string
	}{
		{"no host", Options{URL: "mcp.example.com/mcp"}, "url.form"},
		{"fragment", Options{URL: "https://mcp.example.com/mcp#x"}, "url.form"},
		{"user", Options{URL: "https://me@mcp.example.com/mcp"}, "url.form"},
		{"other scheme", Options{URL: "ftp://mcp.example.com/mcp"}, "url.form"},
		{"plain http", Options{URL: "http://mcp.example.com/mcp"}, "url.insecure"},
		{"no such name", Options{URL: "https://mcp.invalid/mcp", Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "mcp.invalid", IsNotFound: true}
		}}, "reach.dns"},
		{"nobody listens", Options{URL: "https://mcp.invalid/mcp", Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("connection refused")
		}}, "reach.connect"},
		{"no answer", Options{URL: "https://mcp.invalid/mcp", Dial: hangs, Timeout: 50 * time.Millisecond}, "reach.timeout"},
		{"unknown authority", Options{URL: secure.URL + "/mcp"}, "reach.authority"},
		{"http behind https", Options{URL: strings.Replace(plain.URL, "http:", "https:", 1)}, "reach.plain"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Run(t.Context(), test.opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := faults(r); got != test.want {
				t.Errorf("faults %q, want %q\n%s", got, test.want, text(r, ""))
			}
			if r.Passed+len(r.Findings)-r.Passed != r.Passed+r.Skipped+1 {
				t.Errorf("%d checks, %d passed, %d skipped", len(r.Findings), r.Passed, r.Skipped)
			}
		})
	}
	t.Run("a trusted certificate", func(t *testing.T) {
		roots := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		r, err := Run(t.Context(), Options{URL: secure.URL + "/mcp", Roots: roots})
		if err != nil {
			t.Fatal(err)
		}
		if f := finding(r, "reach"); f.Status != Passed || !strings.Contains(f.Detail, tls.VersionName(tls.VersionTLS13)) {
			t.Errorf("reach: %+v", f)
		}
		if got := faults(r); got != "post.missing" {
			t.Errorf("faults %q", got)
		}
	})
}

// TestCertificates are the ways in which a certificate or a handshake is no good.
func TestCertificates(t *testing.T) {
	root := newAuthority(t, nil)
	between := newAuthority(t, root)
	good := func(*x509.Certificate) {}
	for name, tt := range map[string]struct {
		conf      *tls.Config
		want, saw string
	}{
		"good":             {serverTLS(root.issue(t, good)), "post.missing", ""},
		"expired":          {serverTLS(root.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), "reach.expired", "is after"},
		"not yet valid":    {serverTLS(root.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })), "reach.expired", "is before"},
		"of another name":  {serverTLS(root.issue(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example.com"} })), "reach.name", "127.0.0.1"},
		"chain not whole":  {serverTLS(between.issue(t, good)), "reach.authority", "1 certificate shown, and none of"},
		"vouches for self": {serverTLS(newAuthority(t, nil).certificate()), "reach.authority", "vouches for itself"},
		"for clients":      {serverTLS(root.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), "reach.tls", "incompatible key"},
		"old TLS":          {with(serverTLS(root.issue(t, good)), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), "reach.tls", "protocol version"},
		"wants a client's": {with(serverTLS(root.issue(t, good)), func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), "reach.client-certificate", "certificate required"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.TLS = tt.conf
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			t.Cleanup(s.Close)
			r, err := Run(t.Context(), Options{URL: s.URL + "/mcp", Roots: root.pool()})
			if err != nil {
				t.Fatal(err)
			}
			if got := faults(r); got != tt.want || !strings.Contains(text(r, ""), tt.saw) {
				t.Errorf("faults %q, want %q and %q\n%s", got, tt.want, tt.saw, text(r, ""))
			}
		})
	}
}

// What makes a document unreadable is said.
func TestUnreadable(t *testing.T) {
	st := newStack(t)
	for name, tt := range map[string]struct{ body, saw string }{
		"a byte order mark":   {"\xef\xbb\xbf{}", "byte order mark"},
		"compressed":          {"\x1f\x8b\x08", "Content-Encoding"},
		"too long":            {`{"resource":"` + strings.Repeat("x", maxBodyBytes) + `"}`, "more than clients read"},
		"a list in its place": {`{"authorization_servers":"https://x"}`, "authorization_servers"},
		"cut":                 {`{"resource":`, "unexpected end"},
	} {
		st.put(onPath(prmPath, answers(200, "application/json", tt.body))(st, st.good))
		f := finding(st.run(t, Options{}), "metadata")
		if len(f.Faults) != 1 || f.Faults[0].ID != "metadata.malformed" || !strings.Contains(f.Faults[0].Saw, tt.saw) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	st.put(onPath(prmPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})(st, st.good))
	if f := finding(st.run(t, Options{Timeout: 2 * time.Second}), "metadata"); len(f.Faults) != 1 || !strings.Contains(f.Faults[0].Saw, "no answer in time") {
		t.Errorf("it never ends: %+v", f)
	}
}

// A limit on requests that lets them through a moment later is no fault, and one that
// does not makes no other faults than its own.
func TestLimited(t *testing.T) {
	st := newStack(t)
	var n atomic.Int32
	st.put(when(func(*http.Request) bool { return n.Add(1)%5 == 0 }, answers(429, "text/plain", "slow down", "Retry-After", "0"))(st, st.good))
	if r := st.run(t, Options{Register: true}); faults(r) != "" {
		t.Errorf("faults %q", faults(r))
	}
	n.Store(0)
	st.put(when(func(*http.Request) bool { return n.Add(1)%20 == 0 }, answers(503, "text/html", "<center>nginx</center>"))(st, st.good)) // limit_req
	if r := st.run(t, Options{Register: true}); faults(r) != "" {
		t.Errorf("faults %q", faults(r))
	}
	n.Store(0)
	st.put(when(func(*http.Request) bool { return n.Add(1) > 12 }, answers(429, "text/plain", "slow down", "Retry-After", "3600"))(st, st.good))
	r := st.run(t, Options{Register: true})
	if got := faults(r); got != "keys.limited, answers.limited" && got != "answers.limited" {
		t.Errorf("faults %q", got)
	}
	for _, id := range []string{"get", "bad-token", "large-token", "spoof", "unasked"} {
		if f := finding(r, id); f.Status != Skipped || !strings.HasPrefix(f.Detail, "429") {
			t.Errorf("%+v", f)
		}
	}
	n.Store(0)
	st.put(when(func(*http.Request) bool { return n.Add(1) > 3 }, answers(503, "text/html", nginx503, "Retry-After", "3600"))(st, st.good))
	if r := st.run(t, Options{Register: true}); faults(r) != "answers.limited" {
		t.Errorf("limit_req of nginx, faults %q", faults(r))
	}
}

// nginx503 is what nginx 1.22 answers beyond limit_req.
const nginx503 = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"

// A server that stops answering is not asked on and on.
func TestSilence(t *testing.T) {
	st := newStack(t)
	var n atomic.Int32
	st.put(when(func(*http.Request) bool { return n.Add(1) > 3 }, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })(st, st.good))
	r := st.run(t, Options{Timeout: 2 * time.Second})
	if asked := n.Load(); asked > 3+maxSilence || faults(r) != "as.unreachable, answers.silent" {
		t.Errorf("%d requests\n%s", asked, text(r, ""))
	}
}

// Only what it is told to: no registration, no other origin, no redirect.
func TestModesty(t *testing.T) {
	st := newStack(t)
	var seen []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	st.put(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.URL.Path)
		if !strings.HasPrefix(r.UserAgent(), "mcp-forward-auth-doctor/1.2.3") {
			t.Errorf("User-Agent %q", r.UserAgent())
		}
		if r.URL.Path == prmPath {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
			return
		}
		st.good.ServeHTTP(w, r)
	}))
	r := st.run(t, Options{Version: "1.2.3"})
	if got := faults(r); got != "metadata.redirected" {
		t.Errorf("faults %q", got)
	}
	if slices.Contains(seen, "POST /register") {
		t.Error("registered without being asked to")
	}
}

func TestSkip(t *testing.T) {
	st := newStack(t)
	st.put(brokenSetups["preflight 401"].wrap(st, st.good))
	r := st.run(t, Options{Skip: []string{"cors", "spoof"}})
	if got := faults(r); got != "" {
		t.Errorf("faults %q", got)
	}
	for _, id := range []string{"cors-preflight", "cors-endpoints", "spoof"} {
		if f := finding(r, id); f.Status != Skipped {
			t.Errorf("%s: %s", id, f.Status)
		}
	}
}

// A server must not be able to write to the terminal of who examines it.
func TestPrintable(t *testing.T) {
	st := newStack(t)
	st.put(onPath(prmPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(404)
		w.Write([]byte("\x1b]0;owned\x07\u202eevil"))
	})(st, st.good))
	r := st.run(t, Options{})
	out := text(r, "nginx")
	if strings.ContainsAny(out, "\x1b\x07\u202e") {
		t.Errorf("control characters got through: %q", out)
	}
	if !strings.Contains(out, "evil") {
		t.Error("the text itself is gone")
	}
}

// No token, code or verifier in what is printed.
func TestNoSecrets(t *testing.T) {
	st := newStack(t)
	var secrets []string
	st.put(rewrite(func(r *http.Request) bool { return r.URL.Path == "/token" }, func(_ *stack, a *httptest.ResponseRecorder) {
		var answer tokens
		if json.Unmarshal(a.Body.Bytes(), &answer) == nil && answer.Access != "" {
			secrets = append(secrets, answer.Access)
			a.Header().Set("Content-Type", "text/plain") // makes a fault of it
		}
	})(st, st.good))
	r := st.run(t, Options{Login: true, Open: signIn(t)})
	encoded, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(secrets) == 0 {
		t.Fatalf("no token was issued: %s", text(r, ""))
	}
	for _, s := range secrets {
		if bytes.Contains(encoded, []byte(s)) || strings.Contains(text(r, ""), s) {
			t.Error("a token is in the report")
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{URL: "https://mcp.invalid/mcp"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func finding(r Report, id string) Finding {
	for _, f := range r.Findings {
		if f.ID == id {
			return f
		}
	}
	return Finding{}
}

func text(r Report, gateway string) string {
	var b strings.Builder
	p := &Printer{Out: &b, Gateway: gateway}
	p.Heading(r.URL)
	for _, f := range r.Findings {
		p.Finding(f)
	}
	p.Summary(r)
	return b.String()
}

// Gateways refuse methods of their own accord in many ways, none of which is a fault.
func TestMethodsThatAreRefused(t *testing.T) {
	st := newStack(t)
	for _, code := range []int{400, 403, 404, 405, 501} {
		st.put(when(func(r *http.Request) bool {
			return isMCP(r) && (r.Method == http.MethodHead || r.Method == http.MethodPut) || r.URL.Path == "/mcp" && r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") == ""
		}, status(code))(st, st.good))
		if f := finding(st.run(t, Options{}), "methods"); f.Status != Passed {
			t.Errorf("%d: %+v", code, f)
		}
	}
	st.put(when(func(r *http.Request) bool {
		return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") == ""
	}, status(204))(st, st.good))
	if f := finding(st.run(t, Options{}), "methods"); f.Status != Passed {
		t.Errorf("OPTIONS that the gateway answers: %+v", f)
	}
}

// An address of IPv6 is as good as any other; a zone is of one machine.
func TestIPv6(t *testing.T) {
	st := newStackAt(t, "[::1]:0", "", nil)
	if !strings.HasPrefix(st.mcpURL, "http://[::1]:") {
		t.Fatal(st.mcpURL)
	}
	if r := st.run(t, Options{Register: true}); faults(r) != "" {
		t.Errorf("faults in a good set-up: %s\n%s", faults(r), text(r, ""))
	}
	for _, address := range []string{"http://[fe80::1%25eth0]:8080/mcp", "https://[fe80::1%25eth0]/mcp"} {
		r := st.run(t, Options{URL: address})
		if f := finding(r, "url"); faults(r) != "url.form" || !strings.Contains(f.Faults[0].Saw, "has a zone") {
			t.Errorf("%s: %s %+v", address, faults(r), f)
		}
	}
}
