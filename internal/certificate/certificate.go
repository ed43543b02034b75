// Package certificate holds the certificates of the protocol listener where this
// service ends TLS itself: from files, which are read again when they change, or
// from an authority that speaks ACME. A new file that cannot be used changes
// nothing: what was in force stays in force.
package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reload"
)

// maxFileBytes bounds each file.
const maxFileBytes = 64 << 10

// Options are what the section does not say.
type Options struct {
	// Hosts are the names that certificates are needed for, with a port if they have one.
	Hosts []string
	// Proxy is what the authority is asked through; nil for none.
	Proxy  *url.URL
	Logger *slog.Logger
	// Loaded, if set, is called with each certificate that is there now, and with the
	// problem of one that could not be obtained: nil and an error.
	Loaded func(*x509.Certificate, error)
}

// Certificates are those of a listener. New makes them.
type Certificates struct {
	o     Options
	pairs []Pair
	acme  *autocert.Manager // nil for files

	mu    sync.RWMutex
	hosts []string           // that certificates are needed for
	read  []*tls.Certificate // of pairs, in their order
}

// New makes the certificates of a section that is enabled. It reads nothing yet.
func New(s Settings, o Options) *Certificates {
	if o.Loaded == nil {
		o.Loaded = func(*x509.Certificate, error) {}
	}
	c := &Certificates{o: o, pairs: s.Files, read: make([]*tls.Certificate, len(s.Files))}
	if !s.ACME.Enabled {
		return c
	}
	c.hosts = o.Hosts
	transport := &http.Transport{Proxy: http.ProxyURL(o.Proxy), TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute, MaxResponseHeaderBytes: maxFileBytes}
	if len(s.ACME.Authorities) > 0 {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(s.ACME.Authorities) // config has checked it
	}
	c.acme = &autocert.Manager{
		Prompt: autocert.AcceptTOS, HostPolicy: c.needs, Cache: autocert.DirCache(s.ACME.CacheDir), Email: s.ACME.Email,
		Client: &acme.Client{DirectoryURL: s.ACME.DirectoryURL, HTTPClient: &http.Client{Transport: transport, Timeout: 2 * time.Minute}},
	}
	return c
}

// SetHosts says for which names certificates of an authority are needed from now on.
// The next Run gets them.
func (c *Certificates) SetHosts(hosts []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts = hosts
}

func (c *Certificates) names() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.hosts
}

// needs is an autocert.HostPolicy.
func (c *Certificates) needs(_ context.Context, name string) error {
	for _, host := range c.names() {
		if nameOf(host) == name {
			return nil
		}
	}
	return fmt.Errorf("no certificate is needed for %q", name)
}

// Files are to be loaded, and watched.
func (c *Certificates) Files() []*reload.File {
	var files []*reload.File
	for i, p := range c.pairs {
		files = append(files, &reload.File{
			What: "certificate", Path: p.CertFile, MaxBytes: maxFileBytes,
			Apply: func(certificate []byte) (int, error) { return 1, c.apply(i, certificate, p.KeyFile) },
			Loaded: func(_ int, err error) {
				c.mu.RLock()
				leaf := c.read[i]
				c.mu.RUnlock()
				switch {
				case err != nil:
					c.o.Loaded(nil, err)
				case leaf != nil:
					c.o.Logger.Info("a certificate is in force", "file", p.CertFile, "until", leaf.Leaf.NotAfter)
					c.o.Loaded(leaf.Leaf, nil)
				}
			},
		})
	}
	return files
}

// apply puts a certificate in force. Its key is read with it, so that one half of a
// pair that is being replaced is never used.
func (c *Certificates) apply(i int, certificate []byte, keyFile string) error {
	key, err := readKey(keyFile)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return errors.New("it and its key are not a certificate and its key in PEM")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read[i] = &pair
	return nil
}

func readKey(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.Size() > maxFileBytes:
		return nil, fmt.Errorf("the key is larger than %d bytes", maxFileBytes)
	}
	return os.ReadFile(name)
}

// TLS returns the settings of the listener.
func (c *Certificates) TLS() *tls.Config {
	if c.acme != nil {
		t := c.acme.TLSConfig() // HTTP/2, HTTP/1.1 and TLS-ALPN-01
		t.MinVersion = tls.VersionTLS12
		return t
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.choose, NextProtos: []string{"h2", "http/1.1"}}
}

// choose returns the certificate for the name that a client asks for.
func (c *Certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, pair := range c.read {
		if pair != nil && hello.SupportsCertificate(pair) == nil {
			return pair, nil
		}
	}
	return c.read[0], nil
}

// Plain returns the handler of the listener without TLS: it answers the authority,
// and gives all else to other.
func (c *Certificates) Plain(other http.Handler) http.Handler {
	if c.acme == nil {
		return other
	}
	challenges := c.acme.HTTPHandler(other)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		named := *r // the port may be another one where something forwards port 80 here
		named.Host = nameOf(r.Host)
		challenges.ServeHTTP(w, &named)
	})
}

// How often it is tried to get certificates in advance, and looked at them.
const (
	lookAgain = 12 * time.Hour
	tryAgain  = 10 * time.Minute
)

// Run gets the certificates of all hosts in advance, so that no client waits for
// one and a fault is known before a client meets it. Autocert renews them. It
// returns when ctx ends.
func (c *Certificates) Run(ctx context.Context) {
	if c.acme == nil {
		return
	}
	for {
		wait := lookAgain
		for _, host := range c.names() {
			if ctx.Err() == nil && !c.obtain(nameOf(host)) {
				wait = tryAgain
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// obtain gets the certificate for a name, as a client of today would cause it.
func (c *Certificates) obtain(name string) bool {
	pair, err := c.acme.GetCertificate(&tls.ClientHelloInfo{
		ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
	})
	if err != nil {
		c.o.Logger.Error("there is no certificate for a host; it is tried again in ten minutes", "host", name, "error", err)
		c.o.Loaded(nil, err)
		return false
	}
	c.o.Loaded(pair.Leaf, nil)
	return true
}
