package asked

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxAnswer bounds the body of an answer, in bytes.
const maxAnswer = 64 << 10

// Client reaches a server that is asked about credentials. It follows no redirect:
// that would take a credential elsewhere.
type Client struct{ http *http.Client }

// NewClient returns the client of a server. A whole question takes at most timeout.
func NewClient(transport http.RoundTripper, timeout time.Duration) *Client {
	return &Client{&http.Client{Transport: transport, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

var errTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)

// Post sends body and returns the answer, whatever its status. No error holds
// anything of the headers or of the body.
func (c *Client) Post(ctx context.Context, address string, header http.Header, body string) (status int, contentType string, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return 0, "", nil, errors.New("the address cannot be asked")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "mcp-forward-auth")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = errTooLarge
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), answer, err
}
