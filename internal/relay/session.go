package relay

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

const (
	sessionHeader = "Mcp-Session-Id"
	// messagesParameter binds the address for messages of a server of HTTP+SSE.
	messagesParameter = "relay_session"
	// maxSession bounds the server's own id of a session.
	maxSession = 512
	tagBytes   = 16
)

// Sessions of MCP are names that a server gives and believes: who knows one may
// speak in it. So that a name is of no use to another person or client, a client
// gets it with a tag, which is keyed and made of the name and its owner: issuer,
// subject, client and MCP server. Nothing is stored.

// tagged returns a name as its owner gets it.
func (e *Endpoint) tagged(kind, name string, d *forwardauth.Decision) string {
	return name + "." + tag(e.Keys[0], kind, name, d)
}

// untagged returns the name that its owner got tagged; ok is false for all others.
func (e *Endpoint) untagged(kind, tagged string, d *forwardauth.Decision) (name string, ok bool) {
	at := strings.LastIndexByte(tagged, '.')
	if at <= 0 {
		return "", false
	}
	name, got := tagged[:at], tagged[at+1:]
	for _, key := range e.Keys {
		if hmac.Equal([]byte(got), []byte(tag(key, kind, name, d))) {
			return name, true
		}
	}
	return "", false
}

func tag(key []byte, kind, name string, d *forwardauth.Decision) string {
	mac := hmac.New(sha256.New, key)
	for _, part := range []string{kind, name, d.Host.Issuer, d.Resource.URI, d.Token.Subject(), d.Token.Client()} {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(part)))
		mac.Write(size[:])
		mac.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:tagBytes])
}

// openSession reads the session that the request belongs to.
func (x *exchange) openSession() *fault {
	lines := x.in.Header[sessionHeader]
	switch len(lines) {
	case 0:
		return nil
	case 1:
	default:
		return &errSessions
	}
	id, ok := x.endpoint.untagged("session", lines[0], x.decision)
	if !ok {
		return &errUnknownSession
	}
	x.session = id
	return nil
}

// validSession reports whether a server may name a session so (MCP, "Session Management").
func validSession(id string) bool {
	for i := range len(id) {
		if id[i] < 0x21 || id[i] > 0x7e {
			return false
		}
	}
	return id != "" && len(id) <= maxSession
}

// openMessages checks that a message to a server of HTTP+SSE goes to an address
// that this client was given, and returns its query as the server wrote it.
func (x *exchange) openMessages(path, query string) (string, *fault) {
	before, tagged, ok := strings.Cut(query, messagesParameter+"=")
	if !ok || strings.Contains(tagged, "&") {
		return "", &errUnknownSession
	}
	own := strings.TrimSuffix(before, "&")
	if _, ok := x.endpoint.untagged("messages", path+"?"+own+"."+tagged, x.decision); !ok {
		return "", &errUnknownSession
	}
	return own, nil
}

// messagesAddress returns the public address for messages in the place of the
// one that a server of HTTP+SSE wrote; ok is false where that leads elsewhere.
func (x *exchange) messagesAddress(written string) (string, bool) {
	p := &x.server.paths
	path, query, ok := p.reference(p.sse, written)
	if !ok {
		return "", false
	}
	public, ok := x.public(path)
	if !ok || strings.Contains(query, messagesParameter+"=") {
		return "", false
	}
	name := path + "?" + query
	tagged := x.endpoint.tagged("messages", name, x.decision)
	if query != "" {
		query += "&"
	}
	query += messagesParameter + "=" + tagged[len(name)+1:]
	return (&url.URL{Path: unescaped(public), RawPath: public, RawQuery: query}).String(), true
}
