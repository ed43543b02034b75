package conf

import (
	"crypto/tls"
	"crypto/x509"
)

// TLSFile is the `tls` section of a guard's back end.
type TLSFile struct {
	// Use TLS; the server's certificate is always verified. Default false.
	Enabled bool `json:"enabled"`
	// File with the certificates of the authorities to trust, in PEM. Default: those of the system.
	CAFile string `json:"caFile"`
	// File with the client certificate, in PEM.
	CertFile string `json:"certFile"`
	// File with the key of the client certificate, in PEM. Required with certFile.
	KeyFile string `json:"keyFile"`
	// Name to expect in the server's certificate. Default: the host of the address.
	ServerName string `json:"serverName"`
}

// Resolve checks that certificates and keys are what they should be.
func (f TLSFile) Resolve(c Section) TLS {
	if !f.Enabled {
		if f != (TLSFile{}) {
			c.Add(c.Key("enabled"), "is off, but other keys of this section are set")
		}
		return TLS{}
	}
	out := TLS{Enabled: true, ServerName: f.ServerName}
	c.Text(c.Key("serverName"), f.ServerName)
	out.Authorities = c.Authorities(c.Key("caFile"), f.CAFile)
	switch {
	case f.CertFile == "" && f.KeyFile == "":
	case f.CertFile == "" || f.KeyFile == "":
		c.Add(c.Key("certFile"), "and keyFile go together")
	default:
		certificate, ok := c.File(c.Key("certFile"), f.CertFile)
		key, okToo := c.SecretFile(c.Key("keyFile"), f.KeyFile)
		if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); ok && okToo && err != nil {
			c.Add(c.Key("certFile"), "and keyFile are not a certificate and its key in PEM")
		}
		out.Certificate, out.Key = []byte(certificate), NewSecret(key)
	}
	return out
}

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
