package clientauth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Client authentication methods (OpenID Connect Core, section 9).
const (
	Basic         = "client_secret_basic"
	Post          = "client_secret_post"
	PrivateKeyJWT = "private_key_jwt"
)

// Credentials are those of this service at one server.
type Credentials struct {
	ClientID string
	Secret   conf.Secret
	Key      Key
	Method   string // one of the methods above
}

// Prove adds the proof of who asks to a request with form for its body. Audience
// is what a signed assertion names; each is good for one request.
func (c Credentials) Prove(form url.Values, header http.Header, audience string, now time.Time) error {
	switch c.Method {
	case Basic:
		// RFC 6749, section 2.3.1: both are encoded as in a form first.
		pair := url.QueryEscape(c.ClientID) + ":" + url.QueryEscape(c.Secret.Reveal())
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		return nil
	case Post:
		form.Set("client_id", c.ClientID)
		form.Set("client_secret", c.Secret.Reveal())
		return nil
	case PrivateKeyJWT:
		return Assert(form, c.Key, c.ClientID, audience, now)
	}
	return errors.New("internal error: no way to authenticate is configured")
}
