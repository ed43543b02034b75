package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
)

// The kinds of a Fault.
const (
	NoSuchHost  = "no_such_host" // the name does not exist
	Address     = "address"      // the name leads where this service does not connect to
	Certificate = "certificate"  // the certificate is not trusted
	Proxy       = "proxy"        // the configured proxy refuses
)

// Fault is a failure that lasts until an operator acts. Kind is one of the
// above. Err is for the log: a stranger who can tell a name that does not exist
// from one with a private address could look around inside.
type Fault struct {
	Kind string
	Err  error
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// Public is what anyone may be told; it completes the sentence "the host …".
func (f *Fault) Public() string {
	switch f.Kind {
	case Certificate:
		return "has a certificate that this service does not trust"
	case Proxy:
		return "is refused by the proxy that this service uses"
	}
	return "is unknown to this service, or has an address that it does not connect to"
}

// faultOf returns err as a *Fault if it lasts, and otherwise unchanged.
func faultOf(err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &Fault{Certificate, err}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return &Fault{NoSuchHost, err}
	}
	return err
}

// proxyRefused makes a Fault of a proxy's refusal of a tunnel.
func proxyRefused(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired:
		return &Fault{Proxy, errors.New("the proxy answers " + resp.Status)}
	}
	return nil
}
