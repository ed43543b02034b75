package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// Misconfigured: see Unavailable. what ends in what the operator should do.
func Misconfigured(what string, cause error) error {
	return wrap(connector.ErrMisconfigured, what, cause)
}

// remedy returns what the operator should do about an error that waiting does
// not end, or "" for every other error.
func remedy(err error) string {
	if text := connectionRemedy(err); text != "" {
		return text
	}
	if status, ok := errors.AsType[*StatusError](err); ok && (status.Code == http.StatusMovedPermanently || status.Code == http.StatusPermanentRedirect) {
		return "redirects are not followed; configure the address that answers itself"
	}
	if retrieve, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return credentialRemedy(retrieve)
	}
	return ""
}

// connectionRemedy is about what keeps a connection from being made at all.
func connectionRemedy(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "its certificate is for another name; configure the name that the certificate is for"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return "its certificate is not valid at this time; renew it, or correct the clock of this machine"
		}
		return "its certificate is not valid for this use; replace it"
	}
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	if unverified || unknown {
		return "its certificate is not trusted; name the file with its authority in the provider's caFile, or in SSL_CERT_FILE or SSL_CERT_DIR"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "it does not speak TLS at this port; check scheme and port"
	}
	// What crypto/tls calls an alert of the other side; an internal error there may pass.
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" && !strings.Contains(alert.Err.Error(), "internal error") {
		return "it ends the TLS handshake; it may want a certificate of this service, which has none to show, or know neither TLS 1.2 nor 1.3"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound && !dns.IsTemporary {
		return "its name does not exist in DNS; check the name, and the DNS of this machine"
	}
	return ""
}

// credentialRemedy is about the token endpoint's refusals that blame this
// service (RFC 6749, section 5.2; the last four are GitHub's).
func credentialRemedy(refused *oauth2.RetrieveError) string {
	switch refused.ErrorCode {
	case "invalid_client", "incorrect_client_credentials":
		return "it refuses this service's client id, secret or key; check clientID, clientSecret and clientAuthMethod, and that the secret has not expired"
	case "unauthorized_client", "unsupported_grant_type", "application_suspended":
		return "it does not let this client use the authorization code or refresh token grant; allow it there"
	case "redirect_uri_mismatch":
		return "it does not know this service's redirect URI; register what check-config prints"
	case "invalid_scope":
		return "it does not know one of provider.scopes"
	case "":
		if refused.Response != nil && refused.Response.StatusCode == http.StatusUnauthorized {
			return "it refuses this service's client id, secret or key; check clientID, clientSecret and clientAuthMethod"
		}
	}
	return ""
}

// permanent returns err as an ErrMisconfigured if waiting does not end it, else nil.
func permanent(what string, err error) error {
	text := remedy(err)
	if text == "" {
		return nil
	}
	return wrap(connector.ErrMisconfigured, fmt.Sprintf("%s: %s", what, text), err)
}
