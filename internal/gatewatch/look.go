package gatewatch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// What one look may cost.
const (
	askTimeout     = 5 * time.Second
	lookTimeout    = 40 * time.Second // all questions about one MCP server
	maxBodyBytes   = 64 << 10
	maxHeaderBytes = 64 << 10
)

// Looker asks gateways. It sends nothing secret, follows no redirect, keeps no
// cookie and uses no proxy.
type Looker struct {
	transports  func(host string) http.RoundTripper
	userAgent   string
	asked       func() // nil, or told of each question
	askTimeout  time.Duration
	lookTimeout time.Duration
}

// NewLooker returns a Looker with the addresses and authorities of c. version is
// for the User-Agent.
func NewLooker(c Config, version string) *Looker {
	made := map[string]http.RoundTripper{}
	for host, g := range c.Hosts {
		made[host] = transport(g)
	}
	standard := transport(c.Default)
	return &Looker{
		userAgent: strings.TrimSuffix("mcp-forward-auth-gate-watch/"+version, "/"), askTimeout: askTimeout, lookTimeout: lookTimeout,
		transports: func(host string) http.RoundTripper {
			if t := made[host]; t != nil {
				return t
			}
			return standard
		},
	}
}

// transport reaches a gateway.
func transport(g Gateway) http.RoundTripper {
	dialer := &net.Dialer{Timeout: askTimeout}
	t := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: askTimeout, MaxResponseHeaderBytes: maxHeaderBytes,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, DisableCompression: true,
		// A connection serves one look and no other, so that each sees the gateway as it is now.
		IdleConnTimeout: time.Second, MaxIdleConnsPerHost: 1,
	}
	if len(g.Authorities) > 0 {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM(g.Authorities)
	}
	if g.Connect != "" {
		t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, g.Connect)
		}
	}
	return t
}

// Look asks about the gate of r, one question after the other, and returns the
// worst that it saw. It takes at most 40 seconds.
func (l *Looker) Look(ctx context.Context, r *resource.Resource) Sight {
	ctx, cancel := context.WithTimeout(ctx, l.lookTimeout)
	defer cancel()
	worst := Sight{Unreachable, "nothing was asked"}
	for i, q := range questions(r) {
		a, err := l.ask(ctx, r, q)
		if err != nil {
			if i == 0 || ctx.Err() != nil {
				return Sight{worse(worst.State), fmt.Sprintf("%s: %s", q, reason(err))}
			}
			continue
		}
		state := a.judge(q, r)
		saw := fmt.Sprintf("%s: %s", q, a)
		switch {
		case state == Open:
			return Sight{Open, saw}
		case state == Foreign && worst.State != Foreign:
			worst = Sight{Foreign, saw + ", without the challenge of this service"}
		case i == 0 && state == Closed:
			worst = Sight{Closed, saw}
		case i == 0 && state == Unknown:
			worst = Sight{Unreachable, saw}
		}
	}
	return worst
}

// worse is the state after a look that did not come to its end: what is bad stays so.
func worse(s State) State {
	if s.bad() {
		return s
	}
	return Unreachable
}

// ask sends one question.
func (l *Looker) ask(ctx context.Context, r *resource.Resource, q question) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, l.askTimeout)
	defer cancel()
	target, err := url.Parse(r.Host.Issuer + q.path)
	if err != nil {
		return nil, err
	}
	body := ""
	if q.method == http.MethodPost {
		body = hello
	}
	req, err := http.NewRequestWithContext(ctx, q.method, target.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Host = q.host
	req.Header.Set("User-Agent", l.userAgent)
	req.Header.Set("Mcp-Name", Mark)
	req.Header.Set("Accept", "application/json, text/event-stream")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if q.wrongToken {
		req.Header.Set("Authorization", "Bearer "+WrongToken)
	}
	if l.asked != nil {
		l.asked()
	}
	resp, err := l.transports(r.Host.Name).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if mediaType(a.header) != "text/event-stream" { // which may never end
		a.body, _ = io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes)) // half a body is still a sign
	}
	return a, nil
}

// reason says why there is no answer.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}
