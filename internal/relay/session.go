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
	// messagesParameter binds the address for messages of a server of HTTP+SSE.
	messagesParameter = "relay_session"
	// maxSession bounds the server's own id of a session.
	maxSession = 512
	tagBytes   = 16
	tagChars   = (tagBytes*8 + 5) / 6 // in base64
)

// Sessions of MCP are names that a server gives and believes: who knows one may
// speak in it. So that a name is of no use to another person or client, a client
// gets it with two tags, which are keyed and made of the name and its owner: issuer,
// subject, client and MCP server. The second stands for the client by what it
// registered, see Options.App: some clients register again whenever they ask for
// more scopes, and their session goes on. Nothing is stored.

// tagged returns a name as its owner gets it.
func (x *exchange) tagged(kind, name string) string {
	key := x.endpoint.Keys[0]
	return name + "." + x.tag(key, kind, name, x.decision.Token.Client()) + x.tag(key, kind+" of an app", name, x.app())
}

// untagged returns the name that its owner got tagged; ok is false for all others.
func (x *exchange) untagged(kind, tagged string) (name string, ok bool) {
	at := strings.LastIndexByte(tagged, '.')
	if at <= 0 || len(tagged)-at-1 != 2*tagChars {
		return "", false
	}
	name = tagged[:at]
	own, app := tagged[at+1:at+1+tagChars], tagged[at+1+tagChars:]
	return name, x.tags(own, kind, name, x.decision.Token.Client()) || x.tags(app, kind+" of an app", name, x.app())
}

// app is what the client registered. It reads the credential once more, so it is for
// the beginning of a session and for clients that have registered again.
func (x *exchange) app() string {
	return x.endpoint.App(x.endpoint.Decisions.ClientID(x.question, x.decision))
}

// tags reports whether got is the tag by any of the keys.
func (x *exchange) tags(got, kind, name, client string) bool {
	return slices.ContainsFunc(x.endpoint.Keys, func(key []byte) bool {
		return hmac.Equal([]byte(got), []byte(x.tag(key, kind, name, client)))
	})
}

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
	id, ok := x.untagged("session", lines[0])
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
	if _, ok := x.untagged("messages", path+"?"+own+"."+tagged); !ok {
		return "", &errUnknownSession
	}
	return own, nil
}

// messagesAddress returns the public address for messages instead of the
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
	tagged := x.tagged("messages", name)
	if query != "" {
		query += "&"
	}
	query += messagesParameter + "=" + tagged[len(name)+1:]
	return (&url.URL{Path: unescaped(public), RawPath: public, RawQuery: query}).String(), true
}
