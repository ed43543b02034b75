package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress/egresstest"
)

func fault(err error) string {
	if f, ok := errors.AsType[*egress.Fault](err); ok {
		return f.Kind
	}
	return ""
}

func answering() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
}

// What the operator wrote out may be private; what a wildcard covers, or a
// stranger names, may not.
func TestNamedHosts(t *testing.T) {
	internet := egresstest.New(t)
	for _, host := range []string{"apps.corp.example", "apps.internal", "docs", "keys.corp.example", "other.corp.example", "port.corp.example"} {
		internet.Site(host, answering())
		internet.Resolve(host, "10.20.30.40")
	}
	client := &egress.Client{
		Ports: []uint16{9000},
		Named: []string{"apps.corp.example", "apps.corp.example:8443", "apps.internal", "docs", "port.corp.example:9000"}, NamedURLs: []string{"https://keys.corp.example:9443/jwks"},
		Network: internet.Network(),
	}
	for _, good := range []string{
		"https://apps.corp.example/client", "https://apps.corp.example:8443/client", "https://apps.internal/client", "https://docs/client",
		"https://keys.corp.example:9443/jwks", "https://port.corp.example:9000/client",
	} {
		if resp, err := get(client, good); err != nil || string(resp.Body) != "{}" {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]error{
		"https://other.corp.example/client":      egress.ErrUnreachable, // of the same domain, not named
		"https://apps.corp.example:22/client":    egress.ErrRefused,
		"https://apps.internal:8443/client":      egress.ErrRefused,
		"http://apps.corp.example/client":        egress.ErrRefused,
		"https://other.internal/client":          egress.ErrRefused,
		"https://port.corp.example/client":       egress.ErrUnreachable, // named with another port
		"https://other.corp.example:9000/client": egress.ErrUnreachable, // the port is of another host that is named
		"https://keys.corp.example/jwks":         egress.ErrUnreachable, // its host was not named, only a URL
		"https://keys.corp.example:9443/other":   egress.ErrRefused,
	} {
		if _, err := get(client, bad); !errors.Is(err, want) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	t.Run("a stranger's URL at a host of which one URL is named", func(t *testing.T) {
		if _, err := get(client, "https://keys.corp.example/jwks"); fault(err) != egress.Address {
			t.Errorf("%v", err)
		}
	})
}

// Clouds' metadata and wire servers, and what the operator denied, are never
// connected to.
func TestDeniedAddresses(t *testing.T) {
	internet := egresstest.New(t)
	internet.Site("apps.corp.example", answering())
	internet.Site("stranger.example", answering())
	denied := []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("93.184.0.0/16")}
	for _, addr := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.0.23", "168.63.129.16", "100.100.100.200", "100.100.2.136", "192.0.0.192", "161.26.0.10", "166.9.1.1",
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::a9fe:a9fe", "::ffff:169.254.169.254", "::ffff:168.63.129.16", "64:ff9b::a9fe:a9fe",
		"127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "10.96.0.1", "10.111.255.255", "93.184.215.14",
	} {
		for _, host := range []string{"apps.corp.example", "stranger.example"} {
			internet.Resolve(host, addr)
			client := &egress.Client{Named: []string{"apps.corp.example"}, Denied: denied, Network: internet.Network()}
			if _, err := get(client, "https://"+host+"/"); fault(err) != egress.Address {
				t.Errorf("%s at %s: %v", host, addr, err)
			}
		}
	}
	if len(internet.Dialed()) > 0 {
		t.Errorf("connected to %v", internet.Dialed())
	}
	t.Run("loopback is for development alone", func(t *testing.T) {
		internet.Resolve("localhost", "127.0.0.1")
		client := &egress.Client{Named: []string{"localhost"}, Network: internet.Network()}
		if _, err := get(client, "https://localhost/"); fault(err) != egress.Address {
			t.Errorf("%v", err)
		}
	})
	t.Run("names of metadata servers, though they are named", func(t *testing.T) {
		names := []string{"metadata", "metadata.google.internal", "metadata.goog", "metadata.tencentyun.com", "instance-data.ec2.internal", "kubernetes.default.svc"}
		client := &egress.Client{Named: names}
		for _, name := range names {
			if client.CheckURL("https://"+name+"/") == nil {
				t.Errorf("%s is admitted", name)
			}
		}
	})
}

// A fault that lasts until an operator acts is distinguished from a temporary one, and
// a stranger learns only that.
func TestFaults(t *testing.T) {
	internet := egresstest.New(t)
	internet.Site("private.example", answering())
	internet.Resolve("private.example", "10.0.0.1")
	internet.Site("site.example", answering())
	client := &egress.Client{Network: internet.Network()}
	_, absent := get(client, "https://absent.example/")
	_, private := get(client, "https://private.example/")
	if fault(absent) != egress.NoSuchHost || fault(private) != egress.Address {
		t.Errorf("%v, %v", absent, private)
	}
	a, _ := errors.AsType[*egress.Fault](absent)
	p, _ := errors.AsType[*egress.Fault](private)
	if a.Public() != p.Public() {
		t.Error("a stranger can tell a name that does not exist from a private one")
	}
	untrusting := &egress.Client{Network: internet.Network()}
	untrusting.Network.Roots = nil
	if _, err := get(untrusting, "https://site.example/"); fault(err) != egress.Certificate {
		t.Errorf("%v", err)
	}
	refusing := &egress.Client{Network: internet.Network()}
	refusing.Network.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("connection refused") }
	if _, err := get(refusing, "https://site.example/"); err == nil || fault(err) != "" || !errors.Is(err, egress.ErrUnreachable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a closed port: %v", err)
	}
	unsure := &egress.Client{Network: internet.Network()}
	unsure.Network.Lookup = func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "timeout", IsTimeout: true}
	}
	if _, err := get(unsure, "https://site.example/"); fault(err) != "" || !errors.Is(err, egress.ErrUnreachable) {
		t.Errorf("a name server that does not answer: %v", err)
	}
}

// tunnels is a proxy that resolves names by itself.
type tunnels struct {
	internet *egresstest.Internet
	status   int // if not 0, of its refusal

	mu    sync.Mutex
	asked []string
	auth  string
}

func (p *tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked, p.auth = append(p.asked, r.Method+" "+r.Host), r.Header.Get("Proxy-Authorization")
	p.mu.Unlock()
	if p.status != 0 {
		w.WriteHeader(p.status)
		return
	}
	there, err := p.internet.Network().Dial(r.Context(), netip.MustParseAddrPort("93.184.215.14:443"))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	go func() { io.Copy(there, buffered); there.Close() }()
	io.Copy(here, there)
	here.Close()
}

func TestProxy(t *testing.T) {
	internet := egresstest.New(t)
	internet.Site("client.example", answering())
	proxy := &tunnels{internet: internet}
	srv := httptest.NewServer(proxy)
	defer srv.Close()
	at, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	at.User = url.UserPassword("user", "secret")
	network := internet.Network()
	client := func() *egress.Client {
		return &egress.Client{Proxy: at, Network: egress.Network{Roots: network.Roots}} // the real resolver and dialler, for the proxy
	}
	resp, err := get(client(), "https://client.example/c")
	if err != nil || string(resp.Body) != "{}" {
		t.Fatalf("%v", err)
	}
	if len(proxy.asked) != 1 || proxy.asked[0] != "CONNECT client.example:443" || !strings.HasPrefix(proxy.auth, "Basic ") {
		t.Errorf("asked %q with %q", proxy.asked, proxy.auth)
	}
	t.Run("names are checked all the same", func(t *testing.T) {
		for _, bad := range []string{"https://metadata.google.internal/", "https://127.0.0.1/", "https://kubernetes.default.svc/", "http://client.example/"} {
			if _, err := get(client(), bad); !errors.Is(err, egress.ErrRefused) {
				t.Errorf("%s: %v", bad, err)
			}
		}
		if len(proxy.asked) != 1 {
			t.Errorf("the proxy was asked %q", proxy.asked)
		}
	})
	t.Run("loopback is this machine's, not the proxy's", func(t *testing.T) {
		local := httptest.NewServer(answering())
		defer local.Close()
		dev := client()
		dev.Loopback = true
		if resp, err := get(dev, local.URL); err != nil || string(resp.Body) != "{}" || len(proxy.asked) != 1 {
			t.Errorf("%v; the proxy was asked %q", err, proxy.asked)
		}
	})
	t.Run("a refusal lasts", func(t *testing.T) {
		for status, want := range map[int]string{403: egress.Proxy, 407: egress.Proxy, 502: ""} {
			proxy.status = status
			_, err := get(client(), "https://client.example/c")
			if err == nil || fault(err) != want || strings.Contains(err.Error(), "secret") {
				t.Errorf("%d: %v", status, err)
			}
		}
	})
}

// FuzzCheckURL: what is admitted is an https URL of a public name that two
// parsers read alike, or one that the operator named.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://client.example/a", "https://apps.internal:8443/x", "https://client.example:443/?q=1", "https://user@client.example/", "https://0x7f.1/",
		"https://client.example\\@evil.example/", "https://metadata.goog/", "http://localhost:1/", "https://xn--bcher-kva.example/", "https://a.example/%2e%2e/#",
	} {
		f.Add(seed)
	}
	strict, named := &egress.Client{}, &egress.Client{Named: []string{"apps.internal", "apps.internal:8443"}, NamedURLs: []string{"https://keys/x"}}
	f.Fuzz(func(t *testing.T, raw string) {
		err := strict.CheckURL(raw)
		if err == nil && named.CheckURL(raw) != nil {
			t.Errorf("%q is refused where more is admitted", raw)
		}
		if named.CheckURL(raw) != nil {
			return
		}
		u, parseErr := url.Parse(raw)
		if parseErr != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Opaque != "" || strings.ToLower(u.Host) != u.Host {
			t.Fatalf("%q is admitted", raw)
		}
		if _, err := netip.ParseAddr(u.Hostname()); err == nil || !strings.HasPrefix(raw, "https://"+u.Host) {
			t.Errorf("%q is an address, or its host is written in another way", raw)
		}
		if err != nil && u.Hostname() != "apps.internal" && raw != "https://keys/x" {
			t.Errorf("%q is admitted though its host is not named", raw)
		}
	})
}
