package egress_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress/egresstest"
)

func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "93.184.215.14": true, "1.1.1.1": true, "172.32.0.1": true, "100.128.0.1": true, "198.20.0.1": true,
		"2606:4700:4700::1111": true, "2a00:1450:4001::1": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "10.255.255.255": false, "100.64.0.1": false, "100.100.100.200": false,
		"127.0.0.1": false, "127.255.0.1": false, "169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.0.0.192": false, "192.0.2.1": false, "192.88.99.1": false, "192.168.1.1": false, "198.18.0.1": false, "198.19.255.255": false,
		"198.51.100.7": false, "203.0.113.9": false, "224.0.0.1": false, "239.255.255.250": false, "240.0.0.1": false, "255.255.255.255": false,
		"192.31.196.1": false, "192.52.193.1": false, "192.175.48.1": false,
		"::": false, "::1": false, "::ffff:8.8.8.8": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false, "::8.8.8.8": false,
		"64:ff9b::8.8.8.8": false, "64:ff9b::a00:1": false, "64:ff9b:1::1": false, "100::1": false, "100:0:0:1::1": false,
		"2001::1": false, "2001:0:4136:e378:8000:63bf:3fff:fdd2": false, "2001:2::1": false, "2001:10::1": false, "2001:20::1": false,
		"2001:db8::1": false, "2002:7f00:1::": false, "2002:808:808::1": false, "3fff::1": false, "5f00::1": false,
		"fc00::1": false, "fd00:ec2::254": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false,
		"2606:4700::5efe:7f00:1": false, "2606:4700::200:5efe:a00:1": false, "2620:4f:8000::1": false,
		// All but one byte of an ISATAP identifier.
		"2606:4700::100:5efe:a00:1": true, "2606:4700::1:5efe:a00:1": true, "2606:4700::5ffe:a00:1": true, "2606:4700::5eff:a00:1": true,
		// Clouds ask these, and they look public.
		"168.63.129.16": false, "161.26.0.7": false, "166.8.0.1": false, "100.100.2.136": false,
	} {
		if got := egress.Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Public(%s) = %v", addr, got)
		}
	}
	if egress.Public(netip.Addr{}) {
		t.Error("the zero address is public")
	}
}

func FuzzPublic(f *testing.F) {
	for _, a := range []string{"8.8.8.8", "::ffff:10.0.0.1", "2002:a00:1::", "fd00::1"} {
		f.Add(netip.MustParseAddr(a).AsSlice())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok || !egress.Public(a) {
			return
		}
		if a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.Is4In6() || !a.IsGlobalUnicast() {
			t.Errorf("%s is public", a)
		}
	})
}

func TestCheckURL(t *testing.T) {
	plain := &egress.Client{Ports: []uint16{8443}}
	for _, good := range []string{
		"https://client.example/a", "https://client.example", "https://client.example:443/", "https://client.example:8443/?q=1",
		"https://xn--bcher-kva.example/", "https://8.example/", "https://client.example/!~",
		"https://" + strings.Repeat("a", 63) + ".example/", "https://" + strings.Repeat("a.", 123) + "example/",
	} {
		if err := plain.CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "client.example", "//client.example/", "http://client.example/", "HTTPS://client.example/", "ftp://client.example/", "https:client.example",
		"https://user@client.example/", "https://@client.example/", "https://:@client.example/", "https://client.example/#", "https://client.example/#x",
		"https://client.example:/", "https://client.example:0443/", "https://client.example:22/", "https://client.example:65536/",
		"https://Client.example/", "https://client.example./", "https://client..example/", "https://client_x.example/", "https://-a.example/",
		"https://localhost/", "https://a.localhost/", "https://router.local/", "https://metadata.google.internal/", "https://kubernetes.default.svc/",
		"https://x.svc.cluster.local/", "https://a.home.arpa/", "https://intranet/",
		"https://127.0.0.1/", "https://8.8.8.8/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/",
		"https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/", "https://1.2.3.0x4/", "https://a.0x/", "https://a.09/",
		"https://client.example\\@evil.example/", "https://client.example/a b", "https://client.example/\n", "https://client.example/é",
		"https://client%2eexample/", "https://" + strings.Repeat("a", 64) + ".example/", "https://client.example/" + strings.Repeat("a", 2048),
		"http://localhost/", "http://127.0.0.1:8080/x", "http://[::1]/", "https://single/", "https://" + strings.Repeat("a.", 122) + "aa.example/",
		"https://a-.example/", "https://a~.example/", "https://a+b.example/", "https://a.0b1/",
		"https://client.example/\"", "https://client.example/<", "https://client.example/`", "https://client.example/{", "https://client.example/|", "https://client.example/^",
		"https://client.example/\x7f",
	} {
		if err := plain.CheckURL(bad); err == nil {
			t.Errorf("%q is admitted", bad)
		}
	}

	t.Run("AS-CIMD-11 loopback in development", func(t *testing.T) {
		dev := &egress.Client{Loopback: true}
		for url, ok := range map[string]bool{
			"http://localhost:8000/c": true, "http://127.0.0.1/c": true, "http://[::1]:9/c": true,
			"https://localhost/c": false, "http://127.0.0.2/c": false, "http://localhost.example/c": false, "http://client.example/c": false, "http://10.0.0.1/c": false,
			"http://user@localhost/c": false, "http://localhost/#": false,
		} {
			if err := dev.CheckURL(url); (err == nil) != ok {
				t.Errorf("%s: %v", url, err)
			}
		}
	})
}

// Where one address does not answer the next one is tried, of a few at most, and each is
// one that was checked.
func TestAddressesInTurn(t *testing.T) {
	internet := egresstest.New(t)
	internet.Site("many.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	network := internet.Network()
	var tried []string
	down := map[string]bool{"93.184.215.14": true}
	network.Dial = func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		tried = append(tried, addr.Addr().String())
		if down[addr.Addr().String()] {
			return nil, errors.New("connection refused")
		}
		return internet.Network().Dial(ctx, addr)
	}
	internet.Resolve("many.example", "93.184.215.14", "10.0.0.1", "93.184.215.15")
	client := &egress.Client{Network: network}
	if _, err := get(client, "https://many.example/"); err != nil || strings.Join(tried, " ") != "93.184.215.14 93.184.215.15" {
		t.Errorf("%v, tried %v", err, tried)
	}

	tried = nil
	var addrs []string
	for i := range 50 {
		addrs = append(addrs, fmt.Sprintf("93.184.216.%d", i))
		down[addrs[i]] = true
	}
	internet.Resolve("many.example", addrs...)
	if _, err := get(&egress.Client{Network: network}, "https://many.example/"); err == nil || len(tried) != 3 {
		t.Errorf("%v, tried %d of 50 addresses", err, len(tried))
	}
}

// In development loopback is for the hosts that say so, and other hosts stay as they are.
func TestDevelopmentOpensLoopbackAlone(t *testing.T) {
	internet := egresstest.New(t)
	internet.Site("client.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	dev := &egress.Client{Network: internet.Network(), Loopback: true}
	if _, err := get(dev, "https://client.example/"); err != nil {
		t.Errorf("a public host: %v", err)
	}
	internet.Resolve("client.example", "127.0.0.1")
	if _, err := get(&egress.Client{Network: internet.Network(), Loopback: true}, "https://client.example/"); err == nil {
		t.Error("a host of the internet leads to this machine")
	}
	if dialed := internet.Dialed(); len(dialed) != 1 {
		t.Errorf("connected to %v", dialed)
	}
}

func get(c *egress.Client, url string) (*egress.Response, error) {
	return c.Get(context.Background(), egress.Request{URL: url, Accept: "application/json", Limit: 1000})
}

func TestGet(t *testing.T) {
	net := egresstest.New(t)
	client := &egress.Client{Network: net.Network()}

	t.Run("AS-CIMD-05 one plain GET", func(t *testing.T) {
		var seen *http.Request
		net.Site("plain.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = r
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			io.WriteString(w, "{}")
		}))
		for range 2 {
			resp, err := get(client, "https://plain.example/doc?x=%2F")
			if err != nil || string(resp.Body) != "{}" || resp.Header.Get("Set-Cookie") != "a=b" {
				t.Fatal(resp, err)
			}
		}
		if n := len(net.Dialed()); n != 2 {
			t.Errorf("2 fetches made %d connections; each has to check its own address", n)
		}
		if seen.Method != "GET" || seen.RequestURI != "/doc?x=%2F" || seen.Host != "plain.example" {
			t.Errorf("%s %s %s", seen.Method, seen.Host, seen.RequestURI)
		}
		for name := range seen.Header {
			if name != "Accept" && name != "User-Agent" && name != "Connection" {
				t.Errorf("sent %s: %s", name, seen.Header[name])
			}
		}
		if _, err := client.Get(t.Context(), egress.Request{URL: "https://plain.example/doc", IfNoneMatch: `"tag"`, Limit: 2}); err != nil || seen.Header.Get("If-None-Match") != `"tag"` {
			t.Errorf("%v, sent %v", err, seen.Header)
		}
	})

	t.Run("AS-CIMD-07 no redirect is followed", func(t *testing.T) {
		for _, status := range []int{301, 302, 303, 307, 308} {
			asked := 0
			host := fmt.Sprintf("r%d.example", status)
			net.Site(host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				http.Redirect(w, r, "https://plain.example/doc", status)
			}))
			resp, err := get(client, "https://"+host+"/")
			if err != nil || resp.Status != status || resp.Body != nil || asked != 1 {
				t.Errorf("%d: %v %v, asked %d times", status, resp, err, asked)
			}
		}
	})

	t.Run("AS-CIMD-09 size", func(t *testing.T) {
		for n, ok := range map[int]bool{1000: true, 1001: false, 100_000: false} {
			net.Site("size.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, n)) }))
			if _, err := get(client, "https://size.example/"); (err == nil) != ok || err != nil && !errors.Is(err, egress.ErrTooLarge) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		net.Site("identity.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "identity") }))
		if _, err := get(client, "https://identity.example/"); err != nil {
			t.Errorf("identity: %v", err)
		}
		net.Site("bomb.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(make([]byte, 500))
			z.Close()
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(b.Bytes())
		}))
		if _, err := get(client, "https://bomb.example/"); !errors.Is(err, egress.ErrTooLarge) {
			t.Errorf("gzip: %v", err)
		}
		net.Site("headers.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("a", 32<<10))
		}))
		if _, err := get(client, "https://headers.example/"); !errors.Is(err, egress.ErrUnreachable) {
			t.Errorf("headers: %v", err)
		}
	})

	t.Run("untrusted certificate", func(t *testing.T) {
		strict := &egress.Client{Network: net.Network()}
		strict.Network.Roots = nil
		if _, err := get(strict, "https://plain.example/doc"); !errors.Is(err, egress.ErrUnreachable) {
			t.Errorf("%v", err)
		}
	})

	t.Run("no proxy from the environment", func(t *testing.T) {
		t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
		if _, err := get(client, "https://plain.example/doc"); err != nil {
			t.Error(err)
		}
	})
}

func TestAddresses(t *testing.T) {
	internet := egresstest.New(t)
	internet.Site("name.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	client := &egress.Client{Network: internet.Network()}

	t.Run("AS-CIMD-10 special-use addresses are never dialled", func(t *testing.T) {
		for i, addr := range []string{"127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1"} {
			host := fmt.Sprintf("s%d.example", i)
			internet.Resolve(host, addr)
			if _, err := get(client, "https://"+host+"/"); !errors.Is(err, egress.ErrUnreachable) {
				t.Errorf("%s: %v", addr, err)
			}
		}
		if d := internet.Dialed(); len(d) != 0 {
			t.Errorf("dialled %v", d)
		}
	})

	t.Run("ATK-44 of several answers only the public are dialled", func(t *testing.T) {
		internet.Resolve("name.example", "127.0.0.1", "192.168.0.1", "::ffff:8.8.4.4", "::1")
		if _, err := get(client, "https://name.example/"); err != nil {
			t.Fatal(err)
		}
		if d := internet.Dialed(); len(d) != 1 || d[0] != netip.MustParseAddrPort("8.8.4.4:443") {
			t.Errorf("dialled %v", d)
		}
	})

	t.Run("ATK-44 rebinding: what was checked is what is dialled", func(t *testing.T) {
		var lookups int
		var dialed netip.AddrPort
		c := &egress.Client{Network: egress.Network{
			Lookup: func(context.Context, string) ([]netip.Addr, error) {
				lookups++
				if lookups == 1 {
					return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
				}
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			},
			Dial: func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
				dialed = a
				return nil, errors.New("refused")
			},
		}}
		for range 3 {
			if _, err := get(c, "https://rebind.example/"); !errors.Is(err, egress.ErrUnreachable) {
				t.Error(err)
			}
		}
		if lookups != 3 || dialed.Addr() != netip.MustParseAddr("8.8.8.8") {
			t.Errorf("%d lookups, dialled %v", lookups, dialed)
		}
	})

	t.Run("ATK-43 refused, closed and unknown look the same", func(t *testing.T) {
		internet.Resolve("inside.example", "10.0.0.1")
		closed := &egress.Client{Network: internet.Network()}
		closed.Network.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("refused") }
		_, err1 := get(client, "https://inside.example/")
		_, err2 := get(client, "https://nowhere.example/")
		_, err3 := get(closed, "https://name.example/")
		for _, err := range []error{err1, err2, err3} {
			if !errors.Is(err, egress.ErrUnreachable) {
				t.Error(err)
			}
		}
	})

	t.Run("the real network refuses loopback servers", func(t *testing.T) {
		hit := false
		srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit = true }))
		defer srv.Close()
		addr := netip.MustParseAddrPort(srv.Listener.Addr().String())
		c := &egress.Client{Ports: []uint16{addr.Port()}}
		c.Network.Lookup = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{addr.Addr()}, nil }
		if _, err := get(c, fmt.Sprintf("https://loop.example:%d/", addr.Port())); !errors.Is(err, egress.ErrUnreachable) || hit {
			t.Errorf("%v, hit %v", err, hit)
		}
		dev := &egress.Client{Loopback: true}
		if resp, err := get(dev, srv.URL); err != nil || resp.Status != 200 {
			t.Errorf("development: %v %v", resp, err)
		}
	})
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &egress.Client{Network: egress.Network{
			Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
			},
			Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		}}
		began := time.Now()
		if _, err := get(silent, "https://silent.example/"); !errors.Is(err, egress.ErrUnreachable) {
			t.Error(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
	t.Run("slow drip", func(t *testing.T) {
		if testing.Short() {
			t.Skip("takes six seconds")
		}
		t.Parallel()
		internet := egresstest.New(t)
		internet.Site("drip.example", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write([]byte(" ")); err != nil || r.Context().Err() != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(50 * time.Millisecond)
			}
		}))
		began := time.Now()
		if _, err := get(&egress.Client{Network: internet.Network()}, "https://drip.example/"); !errors.Is(err, egress.ErrUnreachable) {
			t.Error(err)
		}
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestBudget(t *testing.T) {
	internet := egresstest.New(t)
	now := time.Unix(1_800_000_000, 0)
	client := &egress.Client{Network: internet.Network(), Now: func() time.Time { return now }, Named: []string{"named.example"}}
	for _, h := range []string{"a.victim.example", "b.victim.example", "other.example", "named.example"} {
		internet.Site(h, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}

	t.Run("ATK-47 one site, however many names and queries", func(t *testing.T) {
		good := 0
		for i := range 100 { // more than there are places: what the budget refuses takes none
			_, err := get(client, fmt.Sprintf("https://%c.victim.example/?%d", 'a'+i%2, i))
			if err == nil {
				good++
			} else if !errors.Is(err, egress.ErrBudget) {
				t.Fatal(err)
			}
		}
		if good != 10 {
			t.Errorf("%d fetches", good)
		}
		if _, err := get(client, "https://other.example/"); err != nil {
			t.Errorf("another site suffers: %v", err)
		}
		now = now.Add(5 * time.Second)
		if _, err := get(client, "https://a.victim.example/"); err != nil {
			t.Errorf("after a while: %v", err)
		}
	})

	t.Run("ATK-47 all sites together, and repeats apart", func(t *testing.T) {
		now = now.Add(time.Hour)
		good := 0
		for i := range 100 {
			if _, err := get(client, fmt.Sprintf("https://n%d.example/", i)); !errors.Is(err, egress.ErrBudget) {
				good++
			}
		}
		if good != 60 {
			t.Errorf("%d fetches", good)
		}
		repeat := egress.Request{URL: "https://other.example/", Limit: 10, Repeat: true}
		for n, want := range []error{nil, nil, nil, nil, nil, egress.ErrBudget} {
			if _, err := client.Get(t.Context(), repeat); !errors.Is(err, want) {
				t.Errorf("a client in use, fetch %d: %v, want %v", n+1, err, want)
			}
		}
		// What the total refused does not count for the site.
		for range 20 {
			if _, err := get(client, "https://late.example/"); !errors.Is(err, egress.ErrBudget) {
				t.Fatal(err)
			}
		}
		now = now.Add(4 * time.Second)
		for range 10 {
			if _, err := get(client, "https://late.example/"); errors.Is(err, egress.ErrBudget) {
				t.Error(err)
			}
		}
	})

	t.Run("ATK-47 what was good before has budgets of its own", func(t *testing.T) {
		now = now.Add(time.Hour)
		if _, err := get(client, "https://other.example/good"); err != nil {
			t.Fatal(err)
		}
		client.Good("https://other.example/good")
		for i := range 100 {
			get(client, fmt.Sprintf("https://m%d.example/", i))
		}
		if _, err := get(client, "https://stranger.example/"); !errors.Is(err, egress.ErrBudget) {
			t.Fatalf("the budget of strangers is not used up: %v", err)
		}
		if _, err := get(client, "https://named.example/"); err != nil {
			t.Errorf("a host that the operator named: %v", err)
		}
		if _, err := get(client, "https://other.example/new"); err != nil {
			t.Errorf("a new document of a site that was good: %v", err)
		}
		for i := range 40 { // strangers name that very site
			get(client, fmt.Sprintf("https://other.example/?%d", i))
		}
		if _, err := get(client, "https://other.example/good"); err != nil {
			t.Errorf("the document that was good: %v", err)
		}
	})
}

// Strangers whose servers hang hold so many fetches and no more.
func TestConcurrentFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialled atomic.Int64
		client := &egress.Client{Network: egress.Network{
			Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
			},
			Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
				dialled.Add(1)
				<-ctx.Done()
				return nil, ctx.Err()
			},
		}}
		client.Good("https://known.example/")
		for i := range 50 {
			go get(client, fmt.Sprintf("https://n%d.example/", i))
		}
		synctest.Wait()
		if n := dialled.Load(); n != 32 {
			t.Errorf("%d at once", n)
		}
		if _, err := get(client, "https://known.example/"); !errors.Is(err, egress.ErrUnreachable) { // it hangs too, but was asked
			t.Error(err)
		}
	})
}
