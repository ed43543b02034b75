package relay

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// fault is why a request or an answer is not relayed.
type fault struct {
	reason reasons.Reason
	status int
	text   string // for the client
	cause  error  // for the audit log; never a secret
}

func (f *fault) Error() string { return string(f.reason) }

// with returns a copy of the fault with this cause.
func (f fault) with(cause error) *fault {
	f.cause = cause
	return &f
}

// Faults of clients.
var (
	errMethod         = fault{reasons.MethodNotAllowed, http.StatusMethodNotAllowed, "an MCP server takes GET, POST and DELETE", nil}
	errConnection     = fault{reasons.ConnectionNamesHeader, http.StatusBadRequest, "Connection must not name a header that is for the MCP server", nil}
	errSessions       = fault{reasons.UnknownSession, http.StatusBadRequest, "Mcp-Session-Id must not repeat", nil}
	errUnknownSession = fault{reasons.UnknownSession, http.StatusNotFound, "Session not found", nil}
)

// Faults of MCP servers.
var (
	errUnreachable  = fault{reasons.MCPServerUnreachable, http.StatusBadGateway, "the MCP server does not answer", nil}
	errTimeout      = fault{reasons.MCPServerTimeout, http.StatusGatewayTimeout, "the MCP server did not answer in time", nil}
	errUnauthorized = fault{reasons.MCPServerUnauthorized, http.StatusBadGateway, "the MCP server refused the request that this service let pass", nil}
	errCredential   = fault{reasons.MCPServerCredential, http.StatusBadGateway, "the MCP server refused the credential of this service", nil}
	errRedirect     = fault{reasons.MCPServerRedirect, http.StatusBadGateway, "the MCP server points elsewhere", nil}
	errAnswer       = fault{reasons.MCPServerAnswer, http.StatusBadGateway, "the answer of the MCP server cannot be passed on", nil}
)

// Codes of JSON-RPC errors: the one that MCP servers use for an unknown session, and that for
// internal errors (JSON-RPC 2.0, section 5.1).
const (
	codeUnknownSession = -32001
	codeInternal       = -32603
)

// write writes the fault as the client's answer.
func (f *fault) write(w http.ResponseWriter, r *http.Request, id string) {
	if f.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, POST, DELETE")
	}
	writeError(w, r, f.status, f.text, id)
}

// writeError writes a JSON-RPC error with this id if the client sent a message, and
// otherwise plain JSON.
func writeError(w http.ResponseWriter, r *http.Request, status int, text, id string) {
	if r.Method != http.MethodPost {
		code := "server_error"
		if status < http.StatusInternalServerError {
			code = "invalid_request"
		}
		web.JSON(w, status, web.ErrorBody{Error: code, Description: text})
		return
	}
	code := codeInternal
	if status == http.StatusNotFound {
		code = codeUnknownSession
	}
	type problem struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	web.JSON(w, status, struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   problem         `json:"error"`
	}{"2.0", json.RawMessage(id), problem{code, text}})
}

// fail answers the client if the server gave no answer, or none that can be passed on.
func (x *exchange) fail(w http.ResponseWriter, _ *http.Request, err error) {
	var f *fault
	switch cause := context.Cause(x.in.Context()); {
	case errors.As(err, &f):
	case cause != nil: // the client has left, and nothing is wrong with the server
		panic(http.ErrAbortHandler)
	case x.idle.expired():
		f = errTimeout.with(errIdle)
	default:
		f = errUnreachable.with(err)
	}
	x.failed = f
	x.endpoint.audit(x, audit.RelayFailed, f)
	x.decision.Client.Set(w.Header())
	f.write(w, x.in, x.decision.MessageID())
}

// Outcome is how a relayed request ended: the value of a metric label.
type Outcome string

// Outcomes.
const (
	Answered Outcome = "answered" // the client got the whole answer
	Left     Outcome = "left"     // the client left before the end of the answer
	Cut      Outcome = "cut"      // the server or a time limit ended the answer early
	Failed   Outcome = "failed"   // the client got 502 or 504
)

// Outcomes lists every Outcome.
var Outcomes = []Outcome{Answered, Left, Cut, Failed}

func (x *exchange) outcome(w *answerWriter) Outcome {
	switch {
	case x.failed != nil:
		return Failed
	case x.in.Context().Err() != nil && !w.done:
		return Left
	case !w.done:
		return Cut
	}
	return Answered
}
