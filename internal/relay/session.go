package relay

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"slices"
	"strings"
)

const (
	sessionHeader = "Mcp-Session-Id"
	// messagesParameter is the query parameter with the tags of a message address of
	// HTTP+SSE.
	messagesParameter = "relay_session"
	// maxSession bounds a session id of the server, in bytes.
	maxSession = 512
	tagBytes   = 16
	tagChars   = (tagBytes*8 + 5) / 6 // in base64
)

// An MCP server lets anyone who knows a session id speak in the session. So that an id is
// of no use to another person or client, clients get it with two tags: MACs of the id and
// of its owner, which is the issuer, MCP server, subject and client. The second tag has
// Options.App in place of the client id: some clients register again when they ask for
// more scopes, and their session must go on. Nothing is stored.

// tagged returns name with the tags of the request's owner. kind keeps sessions and
// message addresses apart.
func (x *exchange) tagged(kind, name string) string {
	key := x.endpoint.Keys[0]
	return name + "." + x.tag(key, kind, name, x.decision.Token.Client()) + x.tag(key, kind+" of an app", name, x.app())
}

// untagged returns the name in tagged. ok is false unless one of the tags is of the
// request's owner.
func (x *exchange) untagged(kind, tagged string) (name string, ok bool) {
	at := strings.LastIndexByte(tagged, '.')
	if at <= 0 || len(tagged)-at-1 != 2*tagChars {
		return "", false
	}
	name = tagged[:at]
	own, app := tagged[at+1:at+1+tagChars], tagged[at+1+tagChars:]
	return name, x.matches(own, kind, name, x.decision.Token.Client()) || x.matches(app, kind+" of an app", name, x.app())
}

// app returns Options.App of the client. It verifies the credential again, so it is
// called only when a session begins, and for clients that registered again.
func (x *exchange) app() string {
	return x.endpoint.App(x.endpoint.Decisions.ClientID(x.question, x.decision))
}

// matches reports whether got is the tag by any of the keys.
func (x *exchange) matches(got, kind, name, client string) bool {
	return slices.ContainsFunc(x.endpoint.Keys, func(key []byte) bool {
		return hmac.Equal([]byte(got), []byte(x.tag(key, kind, name, client)))
	})
}

// tag returns the tag of name for one client. Each part is preceded by its length.
func (x *exchange) tag(key []byte, kind, name, client string) string {
	mac := hmac.New(sha256.New, key)
	for _, part := range []string{kind, name, x.decision.Host.Issuer, x.decision.Resource.URI, x.decision.Token.Subject(), client} {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(part)))
		mac.Write(size[:])
		mac.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:tagBytes])
}

// openSession reads the server's session id out of the header of the request.
func (x *exchange) openSession() *fault {
	lines := x.in.Header[sessionHeader]
	switch len(lines) {
	case 0:
		return nil
	case 1:
	default:
		return &errSessions
	}
	id, ok := x.untagged("session", lines[0])
	if !ok {
		return &errUnknownSession
	}
	x.session = id
	return nil
}

// validSession reports whether MCP allows the session id ("Session Management").
func validSession(id string) bool {
	for i := range len(id) {
		if id[i] < 0x21 || id[i] > 0x7e {
			return false
		}
	}
	return id != "" && len(id) <= maxSession
}

// openMessages checks that a message to a server of HTTP+SSE goes to an address that this
// client was given. It returns the query as the server wrote it.
func (x *exchange) openMessages(path, query string) (string, *fault) {
	before, tagged, ok := strings.Cut(query, messagesParameter+"=")
	if !ok || strings.Contains(tagged, "&") {
		return "", &errUnknownSession
	}
	own := strings.TrimSuffix(before, "&")
	if _, ok := x.untagged("messages", path+"?"+own+"."+tagged); !ok {
		return "", &errUnknownSession
	}
	return own, nil
}

// messagesAddress returns the public address for messages in place of the one that a
// server of HTTP+SSE wrote. ok is false if the server's address leads elsewhere.
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
	tagged := x.tagged("messages", name)
	if query != "" {
		query += "&"
	}
	query += messagesParameter + "=" + tagged[len(name)+1:]
	return (&url.URL{Path: unescaped(public), RawPath: public, RawQuery: query}).String(), true
}
