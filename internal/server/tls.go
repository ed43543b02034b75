package server

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/certificate"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// mostStreams is how many requests one HTTP/2 connection may have at the same time.
const mostStreams = 128

// protocolServer returns the server of the protocol listener.
func (s *Server) protocolServer() *http.Server {
	srv := HTTPServer(s.Protocol, s.log)
	srv.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: mostStreams}
	switch {
	case s.started.TLS.Enabled():
		srv.TLSConfig = &tls.Config{
			MinVersion:         tls.VersionTLS12,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current.Load().tls, nil },
		}
	case s.started.Listen.H2C:
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
	}
	return srv
}

func (s *Server) serveProtocol(srv *http.Server, l net.Listener) error {
	if s.started.TLS.Enabled() {
		return srv.ServeTLS(l, "", "") // the certificates are in its settings
	}
	return srv.Serve(l)
}

// secure makes the certificates of the protocol listener, and what sends browsers
// to it from plain HTTP.
func (b *builder) secure() error {
	if !b.cfg.TLS.Enabled() {
		return nil
	}
	if b.before != nil && b.before.certificates != nil && b.cfg.TLS.ACME.Enabled {
		// One process asks the authority, whatever the configuration: it renews in the background.
		b.certificates = b.before.certificates
		b.begins = append(b.begins, func() error { b.certificates.SetHosts(b.cfg.SecureHosts()); return nil })
	} else {
		b.certificates = certificates(b.cfg, b.log, b.metrics.watchCertificates())
	}
	for _, f := range b.certificates.Files() {
		if err := f.Load(); err != nil {
			return err
		}
		b.files.add(f, b.log)
	}
	var hosts []*resource.Host
	for _, r := range b.table.All() {
		hosts = append(hosts, r.Host)
	}
	if b.callback != nil {
		hosts = append(hosts, b.callback)
	}
	b.tls = b.certificates.TLS()
	b.redirect = b.certificates.Plain(certificate.ToHTTPS(hosts...))
	return nil
}

func certificates(cfg *config.Config, log *slog.Logger, loaded func(*x509.Certificate, error)) *certificate.Certificates {
	return certificate.New(cfg.TLS, certificate.Options{Hosts: cfg.SecureHosts(), Proxy: cfg.Egress.Proxy(), Logger: log, Loaded: loaded})
}

// watchCertificates makes the metrics of certificates, and returns what is told of each.
func (m *metrics) watchCertificates() func(*x509.Certificate, error) {
	expires := m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_certificate_expiry_timestamp_seconds", Help: "When the first of the certificates of the protocol listener expires, in Unix seconds; 0 while there is none. Only with the section tls.",
	})
	broken := m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_certificate_broken", Help: "1 while a certificate of the protocol listener cannot be read or obtained from the authority, so that an older one is used, or none. Only with the section tls.",
	})
	var mu sync.Mutex
	until := map[string]time.Time{} // by the names of a certificate, which stay when it is renewed
	return func(c *x509.Certificate, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			broken.Set(1)
			return
		}
		broken.Set(0)
		name := c.Subject.CommonName
		for _, n := range c.DNSNames {
			name += " " + n
		}
		until[name] = c.NotAfter
		first := c.NotAfter
		for _, end := range until {
			if end.Before(first) {
				first = end
			}
		}
		expires.Set(float64(first.Unix()))
	}
}
