package jwks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
)

// maxDocument bounds a metadata document and a key set, in bytes.
const maxDocument = 512 << 10

// Source is where the keys of one issuer come from over the network. Every URL is
// the operator's or in the issuer's own metadata; no token names one.
type Source struct {
	Issuer string
	// URL of the key set, "" for discovery.
	URL string
	// Documents are the names of the well-known documents that may have the address of
	// the key set; none for those of OpenID Connect and OAuth.
	Documents []string
	// Token, if set, returns a bearer token for the origin that URL names, or Issuer
	// without one. No other origin sees it.
	Token func() (string, error)

	client *http.Client

	mu         sync.Mutex
	discovered string // the key set of the last metadata that was read, "" for none
}

// Over returns s with the way to the issuer.
func (s *Source) Over(transport http.RoundTripper) *Source {
	s.client = &http.Client{Transport: transport, Timeout: fetchTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s
}

// Fetch gets the key set. Where the metadata is known and the set is not where it
// says, the metadata is read again next time.
func (s *Source) Fetch(ctx context.Context) (Document, error) {
	var document Document
	address, err := s.address(ctx)
	if err != nil {
		return document, err
	}
	if err := s.get(ctx, address, &document); err != nil {
		s.mu.Lock()
		s.discovered = ""
		s.mu.Unlock()
		return document, fmt.Errorf("key set at %s: %w", address, err)
	}
	return document, nil
}

func (s *Source) address(ctx context.Context) (string, error) {
	if s.URL != "" {
		return s.URL, nil
	}
	s.mu.Lock()
	known := s.discovered
	s.mu.Unlock()
	if known != "" {
		return known, nil
	}
	found, err := s.discover(ctx)
	if err != nil {
		return "", fmt.Errorf("discovery: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discovered = found
	return found, nil
}

// errNotThere: another well-known address may have the document.
var errNotThere = errors.New("there is no such document")

// discover finds the address of the key set in the issuer's metadata.
func (s *Source) discover(ctx context.Context) (string, error) {
	var last error
	for _, address := range s.wellKnown() {
		var document struct {
			Issuer  string `json:"issuer"`
			JWKSURI string `json:"jwks_uri"`
		}
		err := s.get(ctx, address, &document)
		switch {
		case errors.Is(err, errNotThere):
			last = fmt.Errorf("%s: %w", address, err)
			continue
		case err != nil:
			return "", fmt.Errorf("%s: %w", address, err)
		case document.Issuer != s.Issuer: // OpenID Connect Discovery, section 4.3; RFC 8414, section 3.3
			return "", fmt.Errorf("the document at %s is of the issuer %.200q, which must be the same as %q to the last slash", address, document.Issuer, s.Issuer)
		}
		u, err := url.Parse(document.JWKSURI)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && strings.HasPrefix(s.Issuer, "http://")) {
			return "", fmt.Errorf("the document at %s has no jwks_uri with https", address)
		}
		return document.JWKSURI, nil
	}
	return "", last
}

// wellKnown are the addresses of the documents of s.
func (s *Source) wellKnown() (list []string) {
	if len(s.Documents) == 0 {
		return wellKnown(s.Issuer)
	}
	bare := strings.TrimSuffix(s.Issuer, "/")
	for _, name := range s.Documents {
		list = append(list, bare+"/.well-known/"+name)
		if u, err := url.Parse(bare); err == nil && u.Path != "" { // RFC 8615, as of RFC 8414
			list = append(list, u.Scheme+"://"+u.Host+"/.well-known/"+name+u.EscapedPath())
		}
	}
	return list
}

// wellKnown are the addresses at which issuers publish metadata: OpenID Connect
// Discovery, section 4, and RFC 8414, section 3, and the mix of the two that MCP
// clients try.
func wellKnown(issuer string) []string {
	const openID, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	bare := strings.TrimSuffix(issuer, "/")
	u, err := url.Parse(bare)
	if err != nil || u.Path == "" {
		return []string{bare + openID, bare + oauth}
	}
	origin := u.Scheme + "://" + u.Host
	return []string{bare + openID, origin + oauth + u.EscapedPath(), origin + openID + u.EscapedPath()}
}

// Accept is for requests for key sets, and for the documents that lead to them. The API
// server of Kubernetes sends key sets under their own type alone (RFC 7517, section
// 8.5.2), and answers 406 to who does not name it.
const Accept = "application/json, application/jwk-set+json"

// get reads one JSON document of bounded size, and follows no redirect.
func (s *Source) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", Accept)
	req.Header.Set("User-Agent", "mcp-forward-auth")
	if err := s.authorize(req); err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return cause(err)
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		return fmt.Errorf("status %d: a redirect, which is not followed", code)
	case code >= 400 && code < 500 && code != http.StatusTooManyRequests:
		return fmt.Errorf("%w: status %d", errNotThere, code)
	case code != http.StatusOK:
		return fmt.Errorf("status %d", code)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return cause(err)
	case len(body) > maxDocument:
		return fmt.Errorf("the document is larger than %d KiB", maxDocument>>10)
	case json.Unmarshal(body, into) != nil:
		return errors.New("the document is not the JSON that it should be")
	}
	return nil
}

// authorize adds the bearer token where the request goes to whom it is for.
func (s *Source) authorize(req *http.Request) error {
	if s.Token == nil {
		return nil
	}
	own, err := url.Parse(cmp.Or(s.URL, s.Issuer))
	if err != nil || own.Scheme != req.URL.Scheme || own.Host != req.URL.Host {
		return nil
	}
	token, err := s.Token()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// maxBearer bounds a token of a file, in bytes.
const maxBearer = 64 << 10

// BearerFile returns a Token that reads a file each time, because the token in it is
// renewed in place; nil for no file.
func BearerFile(path string) func() (string, error) {
	if path == "" {
		return nil
	}
	return func() (string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", errors.New("the file of tokenFile cannot be read")
		}
		token := strings.TrimSpace(string(text))
		if token == "" || len(token) > maxBearer || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return "", errors.New("the file of tokenFile does not hold one token")
		}
		return token, nil
	}
}

// cause is an error without the URL, which the caller names.
func cause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// decode reads a document of a file.
func decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return errors.New("the file is not a key set in JSON")
	}
	return nil
}
