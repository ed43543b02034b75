// Package egresstest is a small internet for tests: names with public
// addresses, and real TLS servers of this process behind them. The client under
// test keeps every check it has.
package egresstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
)

// Internet answers for the names that were given to it.
type Internet struct {
	server *httptest.Server
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey

	mu     sync.Mutex
	sites  map[string]http.Handler
	names  map[string][]netip.Addr
	dialed []netip.AddrPort
}

// New starts an empty internet that ends with the test.
func New(t testing.TB) *Internet {
	t.Helper()
	i := &Internet{sites: map[string]http.Handler{}, names: map[string][]netip.Addr{}}
	var err error
	if i.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	i.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "egresstest"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, i.ca, i.ca, &i.caKey.PublicKey, i.caKey)
	if err != nil {
		t.Fatal(err)
	}
	if i.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	i.server = httptest.NewUnstartedServer(http.HandlerFunc(i.serve))
	i.server.TLS = &tls.Config{GetCertificate: i.certificate}
	i.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.server.StartTLS()
	t.Cleanup(i.server.Close)
	return i
}

// Site puts h at https://host, on any port.
func (i *Internet) Site(host string, h http.Handler) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sites[host] = h
	if i.names[host] == nil {
		i.names[host] = []netip.Addr{netip.MustParseAddr("93.184.215.14")}
	}
}

// Resolve makes host resolve to these addresses.
func (i *Internet) Resolve(host string, addrs ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.names[host] = nil
	for _, a := range addrs {
		i.names[host] = append(i.names[host], netip.MustParseAddr(a))
	}
}

// Dialed lists the addresses that were connected to.
func (i *Internet) Dialed() []netip.AddrPort {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]netip.AddrPort(nil), i.dialed...)
}

// Network is the way for a client into this internet.
func (i *Internet) Network() egress.Network {
	roots := x509.NewCertPool()
	roots.AddCert(i.ca)
	return egress.Network{Lookup: i.lookup, Dial: i.dial, Roots: roots}
}

func (i *Internet) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if addrs := i.names[host]; addrs != nil {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (i *Internet) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	i.mu.Lock()
	i.dialed = append(i.dialed, addr)
	i.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, "tcp", i.server.Listener.Addr().String())
}

func (i *Internet) serve(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	i.mu.Lock()
	h := i.sites[host]
	i.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h.ServeHTTP(w, r)
}

func (i *Internet) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{hello.ServerName}, Subject: pkix.Name{CommonName: hello.ServerName},
		NotBefore: time.Unix(0, 0), NotAfter: i.ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, i.ca, &i.caKey.PublicKey, i.caKey)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.caKey}, nil
}
