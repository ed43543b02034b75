package conf

import (
	"crypto/tls"
	"crypto/x509"
)

// TLS is the `tls` section of a guard's back end: how a server is reached. The
// zero value is without TLS.
type TLS struct {
	// Use TLS; the server's certificate is always verified. Default false.
	Enabled bool `json:"enabled"`
	// File with the certificates of the authorities to trust, in PEM. Default: those of the system.
	Authorities []byte `json:"caFile"`
	// File with the client certificate, in PEM.
	CertFile string `json:"certFile"`
	// File with the key of the client certificate, in PEM. Required with certFile.
	KeyFile string `json:"keyFile"`
	// Name to expect in the server's certificate. Default: the host of the address.
	ServerName string `json:"serverName" check:"text"`

	certificate []byte // PEM; empty for none
	key         Secret // PEM
}

// Resolve checks that certificates and keys are what they should be.
func (t *TLS) Resolve(c Section) {
	if !t.Enabled {
		if c.IsSet(c.At) {
			c.Add(c.Key("enabled"), "is off, but other keys of this section are set")
		}
		return
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
	case t.CertFile == "" || t.KeyFile == "":
		c.Add(c.Key("certFile"), "and keyFile go together")
	default:
		certificate, ok := c.File(c.Key("certFile"), t.CertFile)
		key, okToo := c.SecretFile(c.Key("keyFile"), t.KeyFile)
		if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); ok && okToo && err != nil {
			c.Add(c.Key("certFile"), "and keyFile are not a certificate and its key in PEM")
		}
		t.certificate, t.key = []byte(certificate), NewSecret(key)
	}
}

// Client returns the settings of a connection, nil without TLS.
func (t TLS) Client() *tls.Config {
	if !t.Enabled {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if len(t.Authorities) > 0 {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AppendCertsFromPEM(t.Authorities) // Resolve has checked it
	}
	if len(t.certificate) > 0 {
		pair, err := tls.X509KeyPair(t.certificate, []byte(t.key.Reveal()))
		if err != nil {
			panic("internal error: a certificate that Resolve has not checked")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}
