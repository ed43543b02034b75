package certificate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// pair makes a certificate that signs itself, and its key.
func pair(t *testing.T, serial int64, names ...string) (certificate, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// files puts a pair into a directory.
func files(t *testing.T, dir, name string, certificate, key []byte) Pair {
	t.Helper()
	p := Pair{CertFile: filepath.Join(dir, name+".crt"), KeyFile: filepath.Join(dir, name+".key")}
	write(t, p.CertFile, certificate)
	write(t, p.KeyFile, key)
	return p
}

// shown is the serial number and the protocol that a client gets.
func shown(t *testing.T, address, name string) (serial int64, protocol string) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), conn.ConnectionState().NegotiatedProtocol
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	first, firstKey := pair(t, 1, "a.example")
	second, secondKey := pair(t, 2, "b.example", "*.c.example")
	var broken error
	c := New(Settings{Files: []Pair{files(t, dir, "a", first, firstKey), files(t, dir, "b", second, secondKey)}}, Options{
		Logger: slog.New(slog.DiscardHandler), Loaded: func(_ *x509.Certificate, err error) { broken = err },
	})
	watched := c.Files()
	for _, f := range watched {
		if err := f.Load(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", c.TLS())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go http.Serve(l, http.NotFoundHandler())
	check := func(name string, want int64) {
		t.Helper()
		if serial, protocol := shown(t, l.Addr().String(), name); serial != want || protocol != "h2" {
			t.Errorf("%q: the certificate %d, %s; want %d", name, serial, protocol, want)
		}
	}
	check("a.example", 1)
	check("b.example", 2)
	check("x.c.example", 2)
	check("unknown.example", 1)
	check("", 1)

	look := func() { // as reload does every two seconds
		for _, f := range watched {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			f.Watch(ctx)
		}
	}
	third, thirdKey := pair(t, 3, "a.example")
	write(t, filepath.Join(dir, "a.crt"), third) // the key is not there yet
	look()
	check("a.example", 1)
	if broken == nil {
		t.Error("half of a pair is not told of")
	}
	write(t, filepath.Join(dir, "a.key"), thirdKey)
	look()
	check("a.example", 3)
	if broken != nil {
		t.Errorf("told: %v", broken)
	}
	for _, content := range []string{"", "no certificate", strings.Repeat("x", maxFileBytes+1)} {
		write(t, filepath.Join(dir, "a.crt"), []byte(content))
		look()
		check("a.example", 3)
	}
	write(t, filepath.Join(dir, "a.crt"), third)
	write(t, filepath.Join(dir, "a.key"), []byte(strings.Repeat("x", maxFileBytes+1)))
	if err := watched[0].Load(); err == nil {
		t.Error("an endless key is read")
	}
	if err := os.Remove(filepath.Join(dir, "a.crt")); err != nil {
		t.Fatal(err)
	}
	look()
	check("a.example", 3)
}

func TestOldTLS(t *testing.T) {
	certificate, key := pair(t, 1, "a.example")
	c := New(Settings{Files: []Pair{files(t, t.TempDir(), "a", certificate, key)}}, Options{Logger: slog.New(slog.DiscardHandler)})
	if err := c.Files()[0].Load(); err != nil {
		t.Fatal(err)
	}
	for _, settings := range []*tls.Config{c.TLS(), New(Settings{ACME: ACME{Enabled: true}}, Options{Hosts: []string{"a.example"}}).TLS()} {
		if settings.MinVersion != tls.VersionTLS12 {
			t.Errorf("the least version is %x", settings.MinVersion)
		}
	}
}

// A name that is not configured never makes the authority be asked.
func TestACMEForOwnHostsAlone(t *testing.T) {
	asked := false
	directory := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer directory.Close()
	c := New(Settings{ACME: ACME{Enabled: true, DirectoryURL: directory.URL, CacheDir: t.TempDir()}}, Options{Hosts: []string{"a.example:8443"}, Logger: slog.New(slog.DiscardHandler)})
	for _, name := range []string{"evil.example", "", "a.example.evil.example", "127.0.0.1", "A.EXAMPLE.x"} {
		if _, err := c.TLS().GetCertificate(&tls.ClientHelloInfo{ServerName: name}); err == nil || asked {
			t.Errorf("%q: %v, asked %v", name, err, asked)
		}
	}
	for host, want := range map[string]int{"a.example": 404, "a.example:80": 404, "evil.example": 403, "other": 403} { // no such challenge, or not ours
		r := httptest.NewRequest("GET", "http://x/.well-known/acme-challenge/token", nil)
		r.Host = host
		w := httptest.NewRecorder()
		if c.Plain(http.NotFoundHandler()).ServeHTTP(w, r); w.Code != want {
			t.Errorf("a challenge at %s: %d, want %d", host, w.Code, want)
		}
	}
	if c.obtain("a.example") || !asked {
		t.Error("the authority is not asked for a host of the configuration")
	}
}

func TestToHTTPS(t *testing.T) {
	hosts := []*resource.Host{{Name: "a.example", Issuer: "https://a.example", Secure: true}, {Name: "b.example:8443", Issuer: "https://b.example:8443", Secure: true}, {Name: "localhost", Issuer: "http://localhost"}}
	h := ToHTTPS(hosts...)
	for _, tt := range []struct {
		method, host, target string
		status               int
		location             string
	}{
		{"GET", "a.example", "/mcp?a=b", 308, "https://a.example/mcp?a=b"}, {"HEAD", "A.Example.", "/", 308, "https://a.example/"}, {"GET", "a.example:80", "/x", 308, "https://a.example/x"},
		{"GET", "b.example", "/x", 308, "https://b.example:8443/x"}, {"GET", "evil.example", "/x", 421, ""}, {"GET", "localhost", "/x", 421, ""}, {"GET", "", "/x", 421, ""},
		{"POST", "a.example", "/token", 403, ""}, {"GET", "a.example", "//evil.example/x", 308, "https://a.example//evil.example/x"}, {"GET", "a.example", "/x%0d%0aSet-Cookie:a", 308, "https://a.example/x%0d%0aSet-Cookie:a"},
	} {
		r := httptest.NewRequest(tt.method, "http://x/", nil)
		r.Host = tt.host
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(tt.target, "?")
		if strings.Contains(tt.target, "%") {
			r.URL.Opaque = tt.target
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status || w.Header().Get("Location") != tt.location && tt.target[1] != '/' {
			t.Errorf("%s %s%s: %d %s", tt.method, tt.host, tt.target, w.Code, w.Header().Get("Location"))
		}
	}
	r := httptest.NewRequest("GET", "http://a.example/mcp", nil)
	r.Header.Set("Authorization", "Bearer secret")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 403 || w.Header().Get("Location") != "" {
		t.Errorf("a token on the open road: %d", w.Code)
	}
}
