package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

func (w *walk) checkURL(context.Context) outcome {
	u, err := url.Parse(w.opt.URL)
	switch {
	case err != nil:
		return fail("url.form", "it cannot be parsed: "+transport(err))
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" || strings.Contains(w.opt.URL, "#"):
		return fail("url.form", w.opt.URL)
	case strings.Contains(u.Hostname(), "%"):
		return fail("url.form", w.opt.URL+" has a zone, which is a network interface of this machine alone; clients cannot use it")
	case u.Scheme == "http" && !loopback(u):
		return fail("url.insecure", w.opt.URL)
	}
	w.url = u
	w.probe.plain = u.Scheme == "http"
	if w.probe.plain {
		return pass("plain http, which clients accept on loopback only")
	}
	return pass("")
}

// hello is the first thing that a client sends.
const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcp-forward-auth-doctor","version":"1"}}}`

// post sends hello with more headers.
func (w *walk) post(ctx context.Context, header ...string) (*answer, error) {
	return w.probe.do(ctx, request{http.MethodPost, w.url.String(), append([]string{
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream"}, header...), hello})
}

func (w *walk) checkReach(ctx context.Context) outcome {
	a, err := w.post(ctx)
	if err != nil {
		return fail(connectFault(err), transport(err)+shownChain(err))
	}
	w.anonymous = a
	if a.tls == nil {
		return pass("")
	}
	leaf := a.tls.PeerCertificates[0]
	return pass(fmt.Sprintf("%s, certificate valid until %s", tls.VersionName(a.tls.Version), leaf.NotAfter.UTC().Format("2006-01-02")))
}

func connectFault(err error) string {
	_, dns := errors.AsType[*net.DNSError](err)
	if id := certificateFault(err); id != "" {
		return id
	}
	recordError, record := errors.AsType[tls.RecordHeaderError](err)
	plain := record && bytes.HasPrefix(recordError.RecordHeader[:], []byte("HTTP"))
	var timeout net.Error
	switch {
	case dns:
		return "reach.dns"
	case plain || errors.Is(err, http.ErrSchemeMismatch):
		return "reach.plain"
	case record || remoteAlert(err) != "":
		return "reach.tls"
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return "reach.timeout"
	}
	return "reach.connect"
}

// certificateFault returns what is wrong with the server's certificate, or that the
// server requires one of the client; "" for nothing.
func certificateFault(err error) string {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	invalid, _ := errors.AsType[x509.CertificateInvalidError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	switch {
	case name:
		return "reach.name"
	case authority:
		return "reach.authority"
	case unverified && invalid.Cert != nil && invalid.Reason == x509.Expired:
		return "reach.expired"
	case unverified:
		return "reach.tls"
	case strings.Contains(remoteAlert(err), "certificate required"):
		return "reach.client-certificate"
	}
	return ""
}

// remoteAlert is the TLS alert with which the server ended the handshake, "" if it did
// not.
func remoteAlert(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return e.Err.Error()
	}
	return ""
}

// shownChain describes the certificates that the server sent, if their authority is not
// known here.
func shownChain(err error) string {
	e, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if _, authority := errors.AsType[x509.UnknownAuthorityError](err); !ok || !authority || len(e.UnverifiedCertificates) == 0 {
		return ""
	}
	last := e.UnverifiedCertificates[len(e.UnverifiedCertificates)-1]
	if last.Subject.String() == last.Issuer.String() {
		return fmt.Sprintf("; it ends at %q, which vouches for itself", last.Issuer)
	}
	return fmt.Sprintf("; %s shown, and none of %q, which issued the last", plural(len(e.UnverifiedCertificates), "certificate"), last.Issuer)
}

func (w *walk) checkPost(context.Context) outcome {
	a := w.anonymous
	switch front(a) {
	case filtered:
		return fail("post.firewall", a.String())
	case limited:
		return fail("post.limited", a.String())
	case noOrigin:
		return fail("post.origin", a.String())
	}
	switch s := a.status; {
	case s == http.StatusUnauthorized:
		return pass("")
	case s < 300 && a.media() == "text/html":
		return fail("post.page", a.String())
	case s < 300:
		return fail("post.unprotected", a.String())
	case s < 400:
		return fail("post.redirected", a.String())
	case s == http.StatusForbidden:
		return fail("post.forbidden", a.String())
	case s == http.StatusNotFound:
		return fail("post.missing", a.String())
	case s == http.StatusMethodNotAllowed:
		return fail("post.method", a.String())
	case s == http.StatusMisdirectedRequest:
		return fail("post.misdirected", a.String())
	case s >= 500:
		return fail("post.failing", a.String())
	}
	return fail("post.unexpected", a.String())
}

func (w *walk) checkChallenge(context.Context) outcome {
	lines := w.anonymous.header.Values("WWW-Authenticate")
	if len(lines) == 0 {
		return fail("challenge.missing", w.anonymous.String()+" and no WWW-Authenticate")
	}
	saw := "WWW-Authenticate: " + strings.Join(lines, " | ")
	bearer, other, err := bearerChallenges(lines)
	switch {
	case err != nil:
		return fail("challenge.malformed", saw)
	case len(bearer) == 0:
		return fail("challenge.scheme", saw)
	}
	w.bearer, w.boundOnly = bearer[0], other == boundOnly
	switch {
	case len(bearer) > 1:
		return fail("challenge.several", saw)
	case w.bearer["resource_metadata"] == "":
		return fail("challenge.stripped", saw)
	case w.boundOnly:
		return pass("no tokens are taken but those that are bound to a key of the client (DPoP)")
	case other == "dpop":
		return pass("tokens that are bound to a key of the client are taken as well (DPoP)")
	case other != "":
		return pass("besides Bearer there is another scheme, which MCP clients ignore")
	}
	return pass("")
}

// boundOnly is the scheme if there is no Bearer challenge but one of DPoP, which has
// the same parameters (RFC 9449, section 7.1).
const boundOnly = "dpop alone"

// bearerChallenges returns the parameters of each Bearer challenge, never nil ones, and
// another scheme, "" if there is none. If only bound tokens are accepted they are those
// of DPoP, and the scheme is boundOnly.
func bearerChallenges(lines []string) (bearer []map[string]string, other string, err error) {
	all, err := oauthex.ParseWWWAuthenticate(lines)
	if err != nil {
		return nil, "", err
	}
	var dpop []map[string]string
	for _, c := range all {
		if c.Params == nil {
			c.Params = map[string]string{}
		}
		switch c.Scheme {
		case "bearer":
			bearer = append(bearer, c.Params)
			continue
		case "dpop":
			dpop = append(dpop, c.Params)
		}
		other = c.Scheme
	}
	if len(bearer) == 0 && len(dpop) > 0 {
		return dpop, boundOnly, nil
	}
	return bearer, other, nil
}

func (w *walk) checkMetadataURL(context.Context) outcome {
	raw := w.bearer["resource_metadata"]
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		return fail("metadata-url.relative", raw)
	case !w.probe.usable(u):
		return fail("metadata-url.insecure", raw)
	}
	w.metadataURL = raw
	if !sameOrigin(u, w.url) {
		return fail("metadata-url.foreign", raw)
	}
	return pass(raw)
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
