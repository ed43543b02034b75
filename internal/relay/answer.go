package relay

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// modify makes of the server's answer the one for the client. An error is a *fault,
// whose answer replaces the server's.
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
	if f := x.sealSession(resp.Header); f != nil {
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

// redirected returns the public address for one of the server's own; ok is false for all others.
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

// sealSession binds the session that the server names to this person and client.
func (x *exchange) sealSession(h http.Header) *fault {
	lines := h[sessionHeader]
	switch {
	case len(lines) == 0:
		return nil
	case len(lines) > 1 || !validSession(lines[0]):
		return errAnswer.with(fmt.Errorf("its %s is not one that MCP admits", sessionHeader))
	case lines[0] == x.session: // clients compare it with the one they have
		h[sessionHeader] = x.in.Header[sessionHeader]
		return nil
	}
	h[sessionHeader] = []string{x.tagged("session", lines[0])}
	return nil
}

// answerBody is the body of the server's answer while it is read.
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
		err = io.EOF // an end in order, so that the client comes again
	}
	if err == io.EOF { // the trailers are there now
		b.x.server.strip.answer(b.resp.Trailer)
	}
	return n, err
}
