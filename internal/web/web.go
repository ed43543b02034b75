// Package web is what every HTTP endpoint shares: bounded form parsing, JSON
// answers that are never cached, whose address a request comes from, CORS for endpoints that any origin may call,
// the host table in front of handlers, and recovery. It decides nothing.
package web

import (
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Bounds on what a request may bring.
const (
	MaxFormBytes  = 64 << 10
	MaxQueryBytes = 16 << 10
)

// HostHandler serves a request to one of our hosts.
type HostHandler func(w http.ResponseWriter, r *http.Request, host *resource.Host)

// OnHost finds the host that the request is for. One we do not serve gets 421
// (RFC 9110, section 15.5.20); nothing of the request is reflected.
func OnHost(table *resource.Table, next HostHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := table.Host(r.Host)
		if host == nil {
			JSON(w, http.StatusMisdirectedRequest, ErrorBody{Error: "misdirected_request", Description: "this host is not configured here"})
			return
		}
		next(w, r, host)
	})
}

// ErrorBody is the error response of RFC 6749, section 5.2.
type ErrorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// JSON writes v with status. The answer is not to be cached (RFC 6749, section 5.1).
func JSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		slog.Error("encoding a response", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
		h.Set("Pragma", "no-cache")
	}
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// Error writes err as OAuth JSON. What is not an *oauth.Error becomes
// server_error without detail.
func Error(w http.ResponseWriter, err error) {
	oe, ok := err.(*oauth.Error)
	if !ok {
		oe = &oauth.Error{Code: oauth.ServerError}
	}
	if oe.Code == oauth.TemporarilyUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	JSON(w, oe.Code.Status(), ErrorBody{Error: string(oe.Code), Description: oe.Description})
}

// Form reads an application/x-www-form-urlencoded body. The query is not looked
// at (RFC 6749, section 3.2). Errors are *oauth.Error, or *TooLarge.
func Form(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, &oauth.Error{Code: oauth.InvalidRequest, Description: "the body must be application/x-www-form-urlencoded", Reason: reasons.WrongMediaType}
	}
	body, err := Body(w, r, MaxFormBytes)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &oauth.Error{Code: oauth.InvalidRequest, Description: "the body is not a valid form", Reason: reasons.MalformedForm}
	}
	return values, nil
}

// Body reads at most limit bytes of the request's body.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if _, ok := err.(*http.MaxBytesError); ok {
			return nil, &TooLarge{Limit: limit}
		}
		return nil, &oauth.Error{Code: oauth.InvalidRequest, Description: "the body could not be read", Reason: reasons.BodyUnreadable}
	}
	return body, nil
}

// TooLarge says that a body exceeds its bound.
type TooLarge struct{ Limit int64 }

func (*TooLarge) Error() string { return "request body is too large" }

// TooMany says that a limit is reached. Reason is for the audit log.
type TooMany struct {
	Reason reasons.Reason
	Wait   time.Duration // until the next request is answered
}

func (*TooMany) Error() string { return "too many requests" }

// Headers sets the headers of the answer, which is 429 in every form (RFC 6585, section 4).
func (t *TooMany) Headers(h http.Header) {
	h.Set("Retry-After", strconv.Itoa(int((t.Wait+time.Second-1)/time.Second)))
}

// FormError writes an error of Form or Body, or a *TooMany.
func FormError(w http.ResponseWriter, err error) {
	if slow, ok := err.(*TooMany); ok {
		slow.Headers(w.Header())
		JSON(w, http.StatusTooManyRequests, ErrorBody{Error: string(oauth.TemporarilyUnavailable), Description: "too many requests; wait before you try again"})
		return
	}
	if _, ok := err.(*TooLarge); ok {
		JSON(w, http.StatusRequestEntityTooLarge, ErrorBody{Error: string(oauth.InvalidRequest), Description: "the body is too large"})
		return
	}
	Error(w, err)
}

// Query parses the request's query strictly and within bounds.
func Query(r *http.Request) (url.Values, error) {
	if len(r.URL.RawQuery) > MaxQueryBytes {
		return nil, &oauth.Error{Code: oauth.InvalidRequest, Description: "the query is too long", Reason: reasons.QueryTooLong}
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &oauth.Error{Code: oauth.InvalidRequest, Description: "the query is malformed", Reason: reasons.MalformedQuery}
	}
	return values, nil
}

// Public lets browser code of any origin call an endpoint, without credentials,
// and answers its preflight. Never put it around pages (RFC 9700 and OAuth 2.1
// forbid CORS at the authorization endpoint).
func Public(methods string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce, Retry-After")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", methods+", OPTIONS")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP, MCP-Protocol-Version")
			h.Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Methods answers 405 to every method that is not listed. GET admits HEAD.
func Methods(next http.Handler, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, m := range methods {
			if r.Method == m || m == http.MethodGet && r.Method == http.MethodHead {
				next.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		JSON(w, http.StatusMethodNotAllowed, ErrorBody{Error: string(oauth.InvalidRequest), Description: "use " + strings.Join(methods, " or ")})
	})
}

// Recover turns a panic into a 500 and a log line with the stack; it names
// nothing of the request but method and path.
func Recover(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				log.Error("internal error: panic", "panic", p, "method", r.Method, "stack", string(debug.Stack()))
				JSON(w, http.StatusInternalServerError, ErrorBody{Error: string(oauth.ServerError)})
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// StatusRecorder remembers the status of an answer. One that is never written is 200.
type StatusRecorder struct {
	http.ResponseWriter
	Status int
}

// WriteHeader implements http.ResponseWriter.
func (r *StatusRecorder) WriteHeader(status int) {
	r.Status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *StatusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
