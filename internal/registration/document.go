package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
)

// MaxDocumentBytes bounds a metadata document. The draft recommends this bound
// (draft-ietf-oauth-client-id-metadata-document, section 6.6).
const MaxDocumentBytes = 5 << 10

// URLPolicy says which URLs that clients name may be fetched. It is asked before a name
// is looked up in DNS.
type URLPolicy struct {
	Egress *egress.Client
	// Allowed and Denied are host names, or "*.example.com" for all names below
	// example.com. A name in Allowed may have a port, which the URL must then have. An
	// empty Allowed admits all hosts. Denied wins.
	Allowed, Denied []string
	// Own are the hosts of this service, which it must not fetch from.
	Own []string
}

// check returns why the URL may not be fetched, nil if it may.
func (p URLPolicy) check(raw string) error {
	if err := p.Egress.CheckURL(raw); err != nil {
		return err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	host := u.Hostname()
	switch {
	case slices.Contains(p.Own, host) && !strings.HasPrefix(raw, "http://"):
		return errors.New("is one of this service itself")
	case matchesDomain(p.Denied, host), len(p.Allowed) > 0 && !p.vouched(u):
		return errors.New("is at a host that this service does not accept")
	}
	return nil
}

// vouched reports whether the operator named the host, or the host with its port.
func (p URLPolicy) vouched(u *url.URL) bool {
	return matchesDomain(p.Allowed, u.Hostname()) || slices.Contains(p.Allowed, u.Host)
}

func matchesDomain(list []string, host string) bool {
	return slices.ContainsFunc(list, func(d string) bool {
		below, wildcard := strings.CutPrefix(d, "*")
		return d == host || wildcard && strings.HasSuffix(host, below)
	})
}

// Documents knows clients whose id is the URL of their metadata document
// (draft-ietf-oauth-client-id-metadata-document).
type Documents struct {
	urls       URLPolicy
	redirects  RedirectPolicy
	keySets    *KeySets
	allowQuery bool
	grants     []string
	cache      *fetched[*Client]
	network    reach
}

// DocumentsOptions are the dependencies and settings of NewDocuments.
type DocumentsOptions struct {
	URLs      URLPolicy
	Redirects RedirectPolicy
	KeySets   *KeySets
	// AllowQuery admits ids with a query, which the draft advises against.
	AllowQuery bool
	// Grants are the grant types that a client may have, see Dynamic.Grants.
	Grants []string
	Now    func() time.Time
}

// NewDocuments returns an empty cache of documents.
func NewDocuments(o DocumentsOptions) *Documents {
	d := &Documents{urls: o.URLs, redirects: o.Redirects, keySets: o.KeySets, allowQuery: o.AllowQuery, grants: o.Grants}
	d.cache = newFetched(o.URLs.Egress, o.Now, "application/json", MaxDocumentBytes, d.read)
	d.cache.network = &d.network
	return d
}

// Reachable reports whether metadata should tell clients that their ids may be URLs of
// documents. It is false for a while after fetches failed and none was answered. Some
// clients never fall back by themselves; they then register at their next try. Documents
// are accepted in any case.
func (d *Documents) Reachable() bool { return d.network.works(d.cache.now()) }

// IsDocumentURL reports whether id is a URL, so that it may name a document. The ids that
// Dynamic issues are never URLs.
func (d *Documents) IsDocumentURL(id string) bool {
	return strings.HasPrefix(id, "https://") || d.urls.Egress.Loopback && strings.HasPrefix(id, "http://")
}

// Client returns the client that the document at id describes. Errors wrap ErrUnknown or
// ErrUnavailable.
func (d *Documents) Client(ctx context.Context, id string) (*Client, error) {
	if err := d.checkURL(id); err != nil {
		return nil, fmt.Errorf("%w: the client id %w", ErrDocument, err)
	}
	return d.cache.get(ctx, id, false)
}

// checkURL checks the raw string by section 3 of the draft. Parsing it first would lose
// what must be seen: dot segments, an empty fragment, an empty user name.
func (d *Documents) checkURL(id string) error {
	if err := d.urls.check(id); err != nil {
		return err
	}
	_, rest, _ := strings.Cut(id, "://")
	rest, _, query := strings.Cut(rest, "?")
	if query && !d.allowQuery {
		return errors.New("has a query")
	}
	_, path, _ := strings.Cut(rest, "/")
	if path == "" {
		return errors.New("has no path")
	}
	for segment := range strings.SplitSeq(strings.ReplaceAll(strings.ToLower(path), "%2e", "."), "/") {
		if segment == "." || segment == ".." {
			return errors.New("has a dot segment")
		}
	}
	return nil
}

func (d *Documents) read(id string, resp *egress.Response) (*Client, error) {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || media != "application/json" && !(strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")) {
		return nil, errors.New("is not application/json")
	}
	return d.parse(id, resp.Body)
}

// parse reads the document of the client with this id. Its errors complete the sentence
// "the document …". Unknown members are ignored, and so are URLs of logos and pages:
// nothing is fetched from them.
func (d *Documents) parse(id string, body []byte) (*Client, error) {
	members, err := objectMembers(body)
	if err != nil {
		return nil, err
	}
	c := &Client{ID: id}
	var grants, responses, uris []string
	var itself string
	for _, m := range []struct {
		name string
		into any
	}{
		{"client_id", &itself}, {"client_name", &c.Name}, {"redirect_uris", &uris}, {"grant_types", &grants}, {"response_types", &responses}, {"dpop_bound_access_tokens", &c.DPoPBound},
		{"require_pushed_authorization_requests", &c.PushedOnly},
	} {
		if err := member(members, m.name, m.into); err != nil {
			return nil, err
		}
	}
	// The draft demands simple string comparison (RFC 3986, section 6.2.1).
	if itself != id {
		return nil, errors.New("has a client_id that is not its URL")
	}
	if c.Name = strings.TrimSpace(c.Name); c.Name == "" {
		return nil, errors.New("has no client_name")
	}
	c.Name = clipName(c.Name)
	if c.RedirectURIs, err = d.redirects.keep(uris); err != nil {
		return nil, err
	}
	if c.AuthMethod, err = d.negotiate(members, c); err != nil {
		return nil, err
	}
	if c.GrantTypes, err = grantTypes(d.grants, grants, responses, c.AuthMethod == AuthNone); err != nil {
		return nil, err
	}
	u, err := url.Parse(id)
	if err != nil {
		return nil, errors.New("has no URL")
	}
	c.VouchedBy = u.Host
	c.Trusted = d.redirects.trusted(c.RedirectURIs) || d.urls.vouched(u)
	return c, nil
}

// negotiate returns how the client authenticates. There can be no shared secret, because
// everyone can read the document (section 4.1 of the draft). A document that names no
// method means none. If it offers several, the client gets the one it prefers, if that
// works, and must use it: our metadata lists the method, so the client knows it too.
func (d *Documents) negotiate(members map[string]json.RawMessage, c *Client) (string, error) {
	for name := range members {
		if strings.HasPrefix(name, "client_secret") {
			return "", errors.New("has a client secret")
		}
	}
	var preferred string
	var offered []string
	if err := errors.Join(member(members, "token_endpoint_auth_method", &preferred), member(members, "token_endpoint_auth_methods_supported", &offered)); err != nil {
		return "", err
	}
	if strings.HasPrefix(preferred, "client_secret") {
		return "", errors.New("asks for authentication with a shared secret")
	}
	keys, uri, err := clientKeys(members, d.keySets)
	if err != nil {
		return "", err
	}
	c.keys, c.jwksURI = keys, uri
	if preferred == "" && len(offered) == 0 {
		return AuthNone, nil
	}
	for _, m := range append([]string{preferred}, offered...) {
		if m == AuthNone || m == AuthPrivateKey && (len(keys) > 0 || uri != "") {
			return m, nil
		}
	}
	return "", errors.New("offers no authentication method that works here")
}

// clipName shortens a name to maxNameRunes. The page that shows it escapes it.
func clipName(name string) string {
	if utf8.RuneCountInString(name) <= maxNameRunes {
		return name
	}
	return string([]rune(name)[:maxNameRunes])
}
