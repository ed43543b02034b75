package relay

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// modify turns the server's answer into the client's. An error is a *fault, which is then
// answered instead.
func (x *exchange) modify(resp *http.Response) error {
	x.idle.again()
	location := resp.Header["Location"]
	x.server.strip.answer(resp.Header)
	if c := x.server.credential; c != nil {
		refused := resp.StatusCode == http.StatusUnauthorized
		if c.Answered(refused); refused {
			return errCredential.with(fmt.Errorf("it answered %d", resp.StatusCode))
		}
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusProxyAuthRequired:
		if resp.StatusCode == http.StatusUnauthorized && x.endpoint.TokenRefused != nil && x.server.resource.ProviderToken != nil {
			x.endpoint.TokenRefused(x.decision)
		}
		return errUnauthorized.with(fmt.Errorf("it answered %d", resp.StatusCode))
	case resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.StatusCode != http.StatusNotModified:
		to, ok := x.redirected(location)
		if !ok {
			return errRedirect.with(fmt.Errorf("it answered %d with an address that is not its own", resp.StatusCode))
		}
		resp.Header["Location"] = []string{to}
	}
	if f := x.tagSession(resp.Header); f != nil {
		return f
	}
	x.decision.Client.Set(resp.Header)
	resp.Body = &answerBody{ReadCloser: resp.Body, x: x, resp: resp}
	if x.filters() {
		if f := x.filter(resp); f != nil {
			return f
		}
	}
	if x.server.paths.sse != "" && x.in.Method == http.MethodGet && isEventStream(resp.Header) {
		resp.Body = &endpointEvents{from: resp.Body, x: x}
		resp.ContentLength = -1
		delete(resp.Header, "Content-Length")
	}
	return nil
}

// redirected returns the public address for the Location of a redirect. ok is false if it
// is not one of the server's own.
func (x *exchange) redirected(location []string) (string, bool) {
	if len(location) != 1 {
		return "", false
	}
	p := &x.server.paths
	path, query, ok := p.reference(x.target.EscapedPath(), location[0])
	if !ok {
		return "", false
	}
	public, ok := x.public(path)
	if !ok {
		return "", false
	}
	return x.decision.Host.Issuer + (&url.URL{Path: unescaped(public), RawPath: public, RawQuery: query}).String(), true
}

// tagSession binds the session that the server names to this person and client.
func (x *exchange) tagSession(h http.Header) *fault {
	lines := h[sessionHeader]
	switch {
	case len(lines) == 0:
		return nil
	case len(lines) > 1 || !validSession(lines[0]):
		return errAnswer.with(fmt.Errorf("its %s is not one that MCP admits", sessionHeader))
	case lines[0] == x.session: // send what the client sent, because clients compare the two
		h[sessionHeader] = x.in.Header[sessionHeader]
		return nil
	}
	h[sessionHeader] = []string{x.tagged("session", lines[0])}
	return nil
}

// answerBody reads the body of the server's answer, and notes that the server is alive.
type answerBody struct {
	io.ReadCloser
	x    *exchange
	resp *http.Response
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.x.idle.again()
	}
	if err != nil && b.x.in.Method == http.MethodGet && b.x.endpoint.draining.Err() != nil {
		err = io.EOF // a regular end, so that the client connects again
	}
	if err == io.EOF { // the trailers are there now
		b.x.server.strip.answer(b.resp.Trailer)
	}
	return n, err
}
