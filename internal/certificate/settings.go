package certificate

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Settings is the `tls` section.
type Settings struct {
	// Certificates and their keys, chosen by the requested name; the first is used for all other names. The files are read again when they change.
	Files []Pair `json:"certificates" max:"100"`
	// Certificates from an authority that speaks ACME (RFC 8555), such as Let's Encrypt, for all of proxy.hosts. For a single machine only: each replica would ask for its own certificates. Not beside certificates.
	ACME ACME `json:"acme"`
	// Address of a listener without TLS, such as ":80", that redirects browsers to https and, with acme, answers the authority's challenge (HTTP-01). Without it the authority sends its challenge to the protocol listener (TLS-ALPN-01), which it must reach at port 443. Default: none.
	Redirect string `json:"redirect" like:":80"`
}

// Pair is one entry of `tls.certificates`.
type Pair struct {
	// File with the certificate and those of the authorities between it and the root, in PEM. Required.
	CertFile string `json:"certFile"`
	// File with the key of the certificate, in PEM. Required.
	KeyFile string `json:"keyFile"`
}

// ACME is the `tls.acme` section.
type ACME struct {
	// Whether certificates come from the authority. Default false.
	Enabled bool `json:"enabled"`
	// You agree to the terms of service of the authority. Required.
	AgreeToTerms bool `json:"agreeToTerms"`
	// Directory on this machine that keeps the keys and certificates across restarts; created if it does not exist. Authorities issue few certificates a week for one name. Required.
	CacheDir string `json:"cacheDir"`
	// Address that the authority may write to about certificates. Default: none.
	Email string `json:"email" check:"text"`
	// URL of the authority's directory.
	DirectoryURL string `json:"directoryURL" check:"https" default:"https://acme-v02.api.letsencrypt.org/directory"`
	// File with the certificates of the authorities to trust for directoryURL, in PEM. Default: those of the system.
	Authorities []byte `json:"caFile"`
}

// Enabled reports whether the protocol listener speaks TLS.
func (s *Settings) Enabled() bool { return len(s.Files) > 0 || s.ACME.Enabled }

// Resolve checks the section. hosts are the names, with a port if they have one,
// that certificates are needed for, and listen the addresses that are taken.
func (s *Settings) Resolve(c conf.Section, hosts []string) {
	for i := range s.Files {
		s.Files[i].resolve(conf.Section{Check: c.Check, At: conf.Element(c.Key("certificates"), i)})
	}
	acme := c.Sub("acme")
	switch {
	case s.ACME.Enabled && len(s.Files) > 0:
		c.Add(acme.Key("enabled"), "is another source of certificates than %s; remove one of the two", c.Key("certificates"))
	case s.ACME.Enabled:
		s.ACME.resolve(acme, hosts)
	default:
		for _, key := range []string{"agreeToTerms", "cacheDir", "email", "directoryURL", "caFile"} {
			if c.IsSet(acme.Key(key)) {
				c.Add(acme.Key(key), "has no effect while %s is false", acme.Key("enabled"))
			}
		}
	}
	if s.Redirect == "" {
		return
	}
	if _, port, err := net.SplitHostPort(s.Redirect); err != nil || port != "0" && !conf.ValidPort(port) {
		c.Add(c.Key("redirect"), "%s is not an address such as \":80\"", conf.Show(s.Redirect))
	}
	if !s.Enabled() {
		c.Add(c.Key("redirect"), "sends to https, which needs %s or %s", c.Key("certificates"), acme.At)
	}
}

func (p *Pair) resolve(c conf.Section) {
	certificate, ok := c.File(c.Key("certFile"), p.CertFile)
	key, okToo := c.SecretFile(c.Key("keyFile"), p.KeyFile)
	if !ok || !okToo {
		return
	}
	if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); err != nil {
		c.Add(c.Key("certFile"), "and keyFile are not a certificate and its key in PEM")
	}
	p.CertFile, p.KeyFile = c.Path(p.CertFile), c.Path(p.KeyFile) // they are read again later
}

func (a *ACME) resolve(c conf.Section, hosts []string) {
	if !a.AgreeToTerms {
		c.Add(c.Key("agreeToTerms"), "is required: without your agreement to its terms of service the authority issues nothing")
	}
	if a.CacheDir == "" {
		c.Add(c.Key("cacheDir"), "is required: without it each start asks for new certificates, and the authority soon refuses")
	}
	if a.CacheDir != "" {
		a.CacheDir = c.Path(a.CacheDir)
	}
	if len(hosts) == 0 {
		c.Add(c.Key("enabled"), "has no name to get a certificate for: no host has the scheme https")
	}
	for _, host := range hosts {
		name := nameOf(host)
		if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil || !strings.Contains(name, ".") {
			c.Add(c.Key("enabled"), "%s is no public DNS name, so that no authority issues a certificate for it; use certificates", conf.Show(name))
		}
	}
}

// nameOf is a host without its port.
func nameOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
