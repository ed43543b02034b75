package upstream

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"golang.org/x/oauth2"
)

// assertionLife is how long an assertion counts. It is used at once; the rest is
// for clocks that differ.
const assertionLife = 2 * time.Minute

// Sign returns a JWT over claims.
func Sign(key connector.ClientKey, claims any) (string, error) {
	options := (&jose.SignerOptions{}).WithType("JWT")
	if key.Thumbprint != "" {
		options = options.WithHeader("x5t#S256", key.Thumbprint) // RFC 7515, section 4.1.8
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: jose.JSONWebKey{Key: key.Signer(), KeyID: key.ID},
	}, options)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// Assert adds the proof of who we are to a token request (RFC 7523, sections 2.2
// and 3): a new assertion for each, because its jti counts once.
func Assert(form url.Values, key connector.ClientKey, clientID, audience string, now time.Time) error {
	assertion, err := Sign(key, map[string]any{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return fmt.Errorf("internal error: client assertion: %w", err)
	}
	form.Set("client_id", clientID)
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return nil
}

// Token makes a token request of a kind that golang.org/x/oauth2 has no words
// for. Errors are those of that package.
func (c *Client) Token(ctx context.Context, endpoint string, form url.Values) (*oauth2.Token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body) // bounded by the transport
	if err != nil {
		return nil, err
	}
	var answer struct {
		oauth2.Token
		ExpiresIn   json.Number `json:"expires_in"`
		Error       string      `json:"error"`
		Description string      `json:"error_description"`
	}
	problem := json.Unmarshal(body, &answer)
	if resp.StatusCode != http.StatusOK || answer.Error != "" {
		return nil, &oauth2.RetrieveError{Response: resp, ErrorCode: answer.Error, ErrorDescription: answer.Description}
	}
	if problem != nil {
		return nil, fmt.Errorf("decoding the answer of %s: %w", req.URL.Host, problem)
	}
	if answer.AccessToken == "" {
		return nil, fmt.Errorf("the answer of %s holds no access_token", req.URL.Host)
	}
	token := &oauth2.Token{AccessToken: answer.AccessToken, TokenType: answer.TokenType, RefreshToken: answer.RefreshToken}
	if seconds, err := answer.ExpiresIn.Int64(); err == nil && seconds > 0 {
		token.Expiry = time.Now().Add(time.Duration(min(seconds, 1<<31)) * time.Second)
	}
	var extra map[string]any
	_ = json.Unmarshal(body, &extra) // it was an object a moment ago
	return token.WithExtra(extra), nil
}
