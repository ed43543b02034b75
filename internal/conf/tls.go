package conf

import (
	"crypto/tls"
	"crypto/x509"
)

// TLS says how a server is reached. The zero value is without TLS.
type TLS struct {
	Enabled     bool
	ServerName  string // "" for the host of the address
	Authorities []byte // PEM; empty for those of the system
	Certificate []byte // PEM; empty for none
	Key         Secret // PEM
}

// Client returns the settings of a connection, nil without TLS.
func (t TLS) Client() *tls.Config {
	if !t.Enabled {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if len(t.Authorities) > 0 {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AppendCertsFromPEM(t.Authorities) // Load has checked it
	}
	if len(t.Certificate) > 0 {
		pair, err := tls.X509KeyPair(t.Certificate, []byte(t.Key.Reveal()))
		if err != nil {
			panic("internal error: a certificate that Load has not checked")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}
