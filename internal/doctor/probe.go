package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
)

// Bounds on what an answer may bring.
const (
	maxBodyBytes   = 1 << 20
	maxHeaderBytes = 64 << 10
	maxShown       = 300 // characters of anything a server sent
)

// prober sends the doctor's requests.
type prober struct {
	client    *http.Client
	userAgent string
	timeout   time.Duration
	plain     bool // http is allowed, because the MCP server is on loopback without TLS

	mu       sync.Mutex
	origins  []string
	limited  int           // answers of a limit on requests, see overLimit
	waited   time.Duration // because of them
	timeouts int           // consecutive requests that timed out
}

func newProber(opt Options) *prober {
	dial := opt.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: opt.Timeout}).DialContext
	}
	return &prober{
		userAgent: strings.TrimSuffix("mcp-forward-auth-doctor/"+opt.Version, "/"),
		timeout:   opt.Timeout,
		client: &http.Client{
			// A redirect is a finding, not something to follow.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: dial, ForceAttemptHTTP2: true,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: opt.Roots},
				TLSHandshakeTimeout:    opt.Timeout,
				MaxResponseHeaderBytes: maxHeaderBytes, IdleConnTimeout: 30 * time.Second,
			},
		},
	}
}

func (p *prober) close() { p.client.CloseIdleConnections() }

// contacted lists the origins that got requests, in their order.
func (p *prober) contacted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.origins)
}

// answer is a response that has been read.
type answer struct {
	url     string
	status  int
	header  http.Header
	body    []byte
	torn    error // why body is incomplete
	tls     *tls.ConnectionState
	headers time.Duration // until the header was there
}

// request is what to send; header is name, value, name, value, …
type request struct {
	method, url string
	header      []string
	body        string
}

var errTooLong = fmt.Errorf("it has more than %d bytes, which is more than clients read", maxBodyBytes)

var errPlain = errors.New("the doctor does not speak plain http beyond loopback")

const (
	// maxWait and maxWaits bound how long the doctor waits after 429, once and in all: it
	// sends more requests than a client.
	maxWait, maxWaits = 10 * time.Second, 30 * time.Second
	// maxSilence is how many consecutive requests may time out before the doctor stops.
	maxSilence = 3
)

// do sends a request, and sends it once more after a wait if the answer may be a limit
// on requests.
func (p *prober) do(ctx context.Context, r request) (*answer, error) {
	a, err := p.within(ctx, p.timeout, r)
	p.mu.Lock()
	if p.timeouts++; err == nil || !errors.Is(err, context.DeadlineExceeded) {
		p.timeouts = 0
	}
	p.mu.Unlock()
	if err != nil || a.status != http.StatusTooManyRequests && a.status != http.StatusServiceUnavailable {
		return a, err
	}
	wait, known := retryAfter(a.header)
	p.mu.Lock()
	if overLimit(a) {
		p.limited++
	}
	again := known && wait <= maxWait && p.waited+wait <= maxWaits
	if again {
		p.waited += wait
	}
	p.mu.Unlock()
	if !again {
		return a, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(wait):
	}
	second, err := p.within(ctx, p.timeout, r)
	if err == nil && overLimit(a) && !overLimit(second) {
		p.mu.Lock()
		p.limited--
		p.mu.Unlock()
	}
	return second, err
}

// retryAfter is how long to wait before another try: a second if the server does not
// say. A date is ignored (RFC 9110, section 10.2.3).
func retryAfter(h http.Header) (time.Duration, bool) {
	text := h.Get("Retry-After")
	if text == "" {
		return time.Second, true
	}
	seconds, err := strconv.Atoi(text)
	return time.Duration(seconds) * time.Second, err == nil && seconds >= 0
}

// limits is how many requests were stopped by a limit on requests in the end.
func (p *prober) limits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limited
}

// silent reports whether the server has stopped answering; then no more requests are
// sent.
func (p *prober) silent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.timeouts >= maxSilence
}

// within sends one request. An event stream is not read: it may never end.
func (p *prober) within(ctx context.Context, timeout time.Duration, r request) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme != "https" && !(p.plain && loopback(req.URL)) {
		return nil, errPlain
	}
	p.note(req)
	for i := 0; i+1 < len(r.header); i += 2 {
		if r.header[i] == "Host" {
			req.Host = r.header[i+1]
			continue
		}
		req.Header.Add(r.header[i], r.header[i+1])
	}
	start := time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{url: r.url, status: resp.StatusCode, header: resp.Header, tls: resp.TLS, headers: time.Since(start)}
	if a.media() != "text/event-stream" {
		if a.body, a.torn = io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes+1)); len(a.body) > maxBodyBytes {
			a.body, a.torn = a.body[:maxBodyBytes], errTooLong
		}
	}
	return a, nil
}

// note prepares req and remembers where it goes.
func (p *prober) note(req *http.Request) {
	req.Header.Set("User-Agent", p.userAgent)
	origin := req.URL.Scheme + "://" + req.URL.Host
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.origins, origin) {
		p.origins = append(p.origins, origin)
	}
}

func (p *prober) get(ctx context.Context, at string, header ...string) (*answer, error) {
	return p.do(ctx, request{http.MethodGet, at, append([]string{"Accept", jwks.Accept}, header...), ""})
}

func (a *answer) media() string {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

func (a *answer) isJSON() bool {
	return a.media() == "application/json" || strings.HasSuffix(a.media(), "+json")
}

// oauthError is the error code of an answer (RFC 6749, section 5.2), "" if it has none.
func (a *answer) oauthError() string {
	var body struct {
		Error string `json:"error"`
	}
	if !a.isJSON() || json.Unmarshal(a.body, &body) != nil {
		return ""
	}
	return body.Error
}

// String says in a few words what came back.
func (a *answer) String() string {
	s := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if location := a.header.Get("Location"); location != "" {
		return s + " to " + location
	}
	if media := a.media(); media != "" {
		s += ", " + media
	}
	if text := strings.TrimSpace(string(a.body[:min(len(a.body), maxShown)])); text != "" && (a.isJSON() || a.media() == "text/plain") && a.status >= 400 {
		if line, _, _ := strings.Cut(text, "\n"); len(line) < 200 {
			s += ": " + line
		}
	}
	return s
}

// transport says why a request got no answer.
func transport(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	return err.Error()
}

func loopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// usable reports whether u, which a server named, is an address that clients
// would use: absolute, and https unless the MCP server itself is on loopback.
func (p *prober) usable(u *url.URL) bool {
	return u.Host != "" && u.User == nil && u.Fragment == "" && (u.Scheme == "https" || u.Scheme == "http" && p.plain && loopback(u))
}

// printable makes text from a server safe for a terminal: no control characters, no
// direction changes, one line, not long.
func printable(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxShown*3 {
			b.WriteString("…")
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) && r != ' ' {
			r = ' '
			if s := b.String(); strings.HasSuffix(s, " ") {
				continue
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}
