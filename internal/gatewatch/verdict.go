package gatewatch

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// State is what is known of a gate.
type State string

// The states of a gate: a closed set, fit for a metric label.
const (
	// Unknown: not looked at often enough yet.
	Unknown State = "unknown"
	// Closed: the gate refuses, with the challenge of this service.
	Closed State = "closed"
	// Open: an MCP server answers a request that has no good token.
	Open State = "open"
	// Foreign: something else than this service guards the address.
	Foreign State = "foreign"
	// Unreachable: no answer, or one that says nothing of the gate.
	Unreachable State = "unreachable"
)

// bad reports whether a request may come past this service.
func (s State) bad() bool { return s == Open || s == Foreign }

// Sight is what one look at a gate showed.
type Sight struct {
	State State
	// Saw says in a few words what the state follows from.
	Saw string
}

// answer is a response; a bounded part of its body was read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) String() string {
	s := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if media := mediaType(a.header); media != "" {
		s += ", " + media
	}
	return s
}

// judge says what an answer to q shows of the gate of r: Closed, Open, Foreign,
// or Unknown for nothing at all.
//
// A gate refuses before it looks at anything else, with 401 and the challenge of
// this service. So at the address itself, a request that was taken, sent elsewhere or found
// wrong in its content did not meet the gate. Errors of the gateway itself (5xx,
// 429, and 403, which gateways answer where the service does not) and addresses
// that it does not serve (404, 405, 421) show nothing.
func (a *answer) judge(q question, r *resource.Resource) State {
	if FromServer(a.header, a.body) {
		return Open
	}
	if q.place == beside {
		return Unknown
	}
	switch s := a.status; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden && a.challenges(r):
		if a.challenges(r) {
			return Closed
		}
		return Foreign
	case s >= 200 && s < 300:
		return Open
	case q.place == below:
		return Unknown
	case s >= 300 && s < 400:
		return Foreign
	case s == http.StatusBadRequest, s == http.StatusNotAcceptable, s == http.StatusConflict, s == http.StatusUnsupportedMediaType, s == http.StatusUnprocessableEntity:
		return Open
	}
	return Unknown
}

// challenges reports whether the answer has the challenge of this service for r:
// its metadata are those that this service publishes.
func (a *answer) challenges(r *resource.Resource) bool {
	all, err := oauthex.ParseWWWAuthenticate(a.header.Values("Www-Authenticate"))
	if err != nil {
		return false
	}
	for _, c := range all {
		if c.Scheme == "bearer" && strings.HasPrefix(c.Params["resource_metadata"], r.MetadataURL(r.Path)) {
			return true
		}
	}
	return false
}

// FromServer reports whether an answer can only be that of an MCP server: an
// event stream, a session, or a message of JSON-RPC.
func FromServer(header http.Header, body []byte) bool {
	var message struct {
		JSONRPC string `json:"jsonrpc"`
	}
	return mediaType(header) == "text/event-stream" || header.Get("Mcp-Session-Id") != "" ||
		json.Unmarshal(body, &message) == nil && message.JSONRPC != ""
}

func mediaType(header http.Header) string {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}
