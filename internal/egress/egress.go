// Package egress is the only HTTP client for URLs that strangers name. It
// connects to public addresses alone, and to exactly the address it checked, so
// no answer of a name server can lead it inside. Hosts that the operator named
// may also have private addresses; with a proxy, the proxy resolves names, and
// only names can be checked here. It follows nothing, sends
// nothing that identifies a person, stops at bounds of size and time, and says
// the same whatever was wrong on the network, so that it cannot be used to look
// around (draft-ietf-oauth-client-id-metadata-document, section 6.5).
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
)

const (
	maxURLBytes    = 2 << 10
	maxHeaderBytes = 16 << 10
	maxAddresses   = 3 // tried, of those a name resolves to
	connectTimeout = 2 * time.Second
	headerTimeout  = 3 * time.Second
	totalTimeout   = 6 * time.Second
)

var (
	// ErrUnreachable: there was no answer. Where waiting does not help it is a *Fault.
	ErrUnreachable = errors.New("no answer")
	// ErrBudget: too many fetches for now.
	ErrBudget = errors.New("too many fetches for now")
	// ErrTooLarge: the body is larger than the caller's bound, or encoded.
	ErrTooLarge = errors.New("answer is too large or encoded")
	// ErrRefused: the URL is not one we fetch.
	ErrRefused = errors.New("URL is not allowed")
)

// Network is how the client reaches the internet; the zero value is the real
// one. Tests replace it. It comes after every check, so no Network can make the
// client accept an address that is not public.
type Network struct {
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial   func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	Roots  *x509.CertPool
}

// Client fetches. Set its fields before the first use and not later.
type Client struct {
	// Ports are allowed besides 443.
	Ports []uint16
	// Named are hosts that the operator wrote out, "host" or "host:port": they may
	// have a private name and private addresses, and that port.
	Named []string
	// NamedURLs are URLs that the operator wrote out. As for Named, but only for
	// these URLs.
	NamedURLs []string
	// Denied are addresses that are never connected to, besides those of clouds'
	// metadata and wire servers, even for Named. They do not bind a Proxy.
	Denied []netip.Prefix
	// Proxy is an http or https proxy that all but Loopback goes through. It
	// resolves the names, so addresses are not checked.
	Proxy *url.URL
	// Loopback, for development, also admits http URLs whose host is literally
	// localhost, 127.0.0.1 or [::1], on any port.
	Loopback bool
	Network  Network
	Now      func() time.Time

	once      sync.Once
	transport *http.Transport
	known     known
	// Whose a fetch is: a stranger's, of a site that the operator named or that was
	// good before, or of a URL that was good. Each has a budget and places of its
	// own, so that strangers cannot take them from clients in use.
	first, familiar, repeat *purse
}

// Alike reports whether c and o fetch the same URLs in the same way.
func (c *Client) Alike(o *Client) bool {
	return slices.Equal(c.Ports, o.Ports) && slices.Equal(c.Named, o.Named) && slices.Equal(c.NamedURLs, o.NamedURLs) &&
		slices.Equal(c.Denied, o.Denied) && reflect.DeepEqual(c.Proxy, o.Proxy) && c.Loopback == o.Loopback
}

// Request is one GET.
type Request struct {
	URL         string
	Accept      string
	IfNoneMatch string // an entity tag of an earlier answer, or ""
	Limit       int    // bytes of body
	// Repeat: an earlier answer from this URL was good and is still in use.
	Repeat bool
}

// Response is what came back, with the body read whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Get fetches once. Redirects come back as they are. Errors wrap one of the
// package's; what else they say is for the log only.
func (c *Client) Get(ctx context.Context, req Request) (*Response, error) {
	u, named, err := c.parse(req.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: it %w", ErrRefused, err)
	}
	c.once.Do(c.init)
	leave, ok := c.take(u, named, req)
	if !ok {
		return nil, ErrBudget
	}
	defer leave()
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, namedKey{}, named), totalTimeout)
	defer cancel()
	// A bare RoundTrip: http.Client would follow redirects and keep cookies.
	r := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{
		"Accept": {req.Accept}, "User-Agent": {"mcp-forward-auth"},
	}}
	if req.IfNoneMatch != "" {
		r.Header.Set("If-None-Match", req.IfNoneMatch)
	}
	resp, err := c.transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, faultOf(err))
	}
	defer resp.Body.Close()
	out := &Response{Status: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode != http.StatusOK {
		return out, nil // the body of a failure is not read
	}
	// Nothing was asked to be compressed, so nothing may be: a bomb has no fuse.
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, ErrTooLarge
	}
	out.Body, err = io.ReadAll(io.LimitReader(resp.Body, int64(req.Limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if len(out.Body) > req.Limit {
		return nil, ErrTooLarge
	}
	return out, nil
}

func (c *Client) init() {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.first = newPurse(firstTotal, firstSite, c.Now)
	c.familiar = newPurse(firstTotal, firstSite, c.Now)
	c.repeat = newPurse(repeatTotal, repeatURL, c.Now)
	c.transport = &http.Transport{
		Proxy:                  c.proxyFor, // never the environment's, which would resolve the name again
		OnProxyConnectResponse: proxyRefused,
		DialContext:            c.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Network.Roots},
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableKeepAlives:      true, // each fetch checks its own address
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
}

func (c *Client) take(u *url.URL, named bool, req Request) (leave func(), ok bool) {
	if req.Repeat || c.Known(req.URL) {
		return c.repeat.take(req.URL)
	}
	name := site(u.Hostname())
	if named || c.knownSite(name) {
		return c.familiar.take(name)
	}
	return c.first.take(name)
}

// site is the registrable domain of host: its owner has all names below it.
func site(host string) string {
	if s, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return s
	}
	return host
}

// namedKey is the key of a context's value: whether the operator named the host.
type namedKey struct{}

func (c *Client) proxyFor(r *http.Request) (*url.URL, error) {
	if c.isLoopback(r.URL) {
		return nil, nil
	}
	return c.Proxy, nil
}

// dial resolves, checks and connects to one of the addresses it checked.
func (c *Client) dial(ctx context.Context, _, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := c.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		conn, dialErr := c.connect(ctx, netip.AddrPortFrom(a, uint16(n)))
		if dialErr == nil {
			return conn, nil
		}
		err = errors.Join(err, dialErr)
	}
	return nil, err
}

// addresses returns those of host that may be connected to.
func (c *Client) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	lookup := c.Network.Lookup
	if lookup == nil {
		lookup = resolve
	}
	all, err := lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	allowed := c.allowed(ctx, host)
	var out []netip.Addr
	for _, a := range all {
		// The resolver may hand out IPv4 in its mapped form.
		if a = a.Unmap(); allowed(a) && len(out) < maxAddresses {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, &Fault{Address, fmt.Errorf("%s resolves to %v, where this service does not connect to", host, all)}
	}
	return out, nil
}

// allowed returns which addresses of host may be connected to.
func (c *Client) allowed(ctx context.Context, host string) func(netip.Addr) bool {
	named, _ := ctx.Value(namedKey{}).(bool)
	switch {
	case c.Loopback && slices.Contains(loopbackHosts, host): // only http gets here, see parse
		return netip.Addr.IsLoopback
	case c.Proxy != nil: // the only host that is dialled is the proxy's, which the operator named
		return netip.Addr.IsValid
	}
	return func(a netip.Addr) bool {
		return (Public(a) || named && own(a)) && !contains(cloud, a) && !contains(c.Denied, a)
	}
}

func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func (c *Client) connect(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if c.Network.Dial != nil {
		return c.Network.Dial(ctx, addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr.String())
}
