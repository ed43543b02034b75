package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Token makes a token request of a kind that golang.org/x/oauth2 has no words
// for. Errors are those of that package.
func (c *Client) Token(ctx context.Context, endpoint string, form url.Values) (*oauth2.Token, error) {
	return c.TokenWith(ctx, endpoint, form, nil)
}

// TokenWith is Token with further headers.
func (c *Client) TokenWith(ctx context.Context, endpoint string, form url.Values, header http.Header) (*oauth2.Token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.of(ctx).Do(req)
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
