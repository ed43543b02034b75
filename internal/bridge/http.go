package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	sessionHeader = "Mcp-Session-Id"
	versionHeader = "Mcp-Protocol-Version"
)

// ServeHTTP serves the endpoint, /healthz and /readyz.
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		fmt.Fprintln(w, "ok")
		return
	case "/readyz":
		if err := b.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
		return
	case b.s.Path:
	default:
		http.NotFound(w, r)
		return
	}
	owner, status, err := b.asker(r)
	if err != nil {
		refuse(w, status, nil, codeInvalid, err.Error(), nil)
		return
	}
	switch r.Method {
	case http.MethodPost:
		b.post(w, r, owner)
	case http.MethodGet:
		b.get(w, r, owner)
	case http.MethodDelete:
		b.delete(w, r, owner)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		refuse(w, http.StatusMethodNotAllowed, nil, codeInvalid, "the method is not one of MCP", nil)
	}
}

// asker returns the person of a request, "" if that is not checked. Without the check a
// web page must not reach a server on its reader's machine (DNS rebinding).
func (b *Bridge) asker(r *http.Request) (owner string, status int, err error) {
	if b.who != nil {
		owner, err = b.who.person(r.Context(), r)
		return owner, http.StatusForbidden, err
	}
	if o := r.Header.Get("Origin"); o != "" && !slices.Contains(b.s.AllowedOrigin, o) && !(b.local() && localOrigin(o)) {
		return "", http.StatusForbidden, fmt.Errorf("the origin %q is not allowed; --allow-origin allows it", o)
	}
	if host := hostname(r.Host); b.local() && !isLocal(host) && !slices.Contains(b.s.AllowedHosts, host) {
		return "", http.StatusForbidden, fmt.Errorf("the Host header names %q, and the bridge listens on this machine alone; --allow-host allows it", host)
	}
	return "", 0, nil
}

func hostname(host string) string {
	if u, err := url.Parse("//" + host); err == nil {
		return u.Hostname()
	}
	return host
}

func localOrigin(o string) bool {
	u, err := url.Parse(o)
	return err == nil && isLocal(u.Hostname())
}

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// refuse answers with an error of JSON-RPC.
func refuse(w http.ResponseWriter, status int, id json.RawMessage, code int, text string, data any) {
	body, _ := failure(id, code, text, data).encode() // of what cannot fail
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// troubled writes the answer for an error of a process.
func troubled(w http.ResponseWriter, id json.RawMessage, err error) {
	var u unavailable
	status := http.StatusServiceUnavailable
	switch {
	case errors.As(err, &u):
		w.Header().Set("Retry-After", strconv.Itoa(int(u.wait/time.Second)+1))
	case errors.Is(err, errEnded):
		status = http.StatusNotFound // a client begins a new session then
	case errors.Is(err, errTwice):
		status = http.StatusBadRequest
	default:
		w.Header().Set("Retry-After", "1")
	}
	refuse(w, status, id, codeInternal, err.Error(), nil)
}

func (b *Bridge) post(w http.ResponseWriter, r *http.Request, owner string) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, nil, codeInvalid, "the body is not application/json", nil)
		return
	}
	if json, events := accepts(r); !json && !events {
		refuse(w, http.StatusNotAcceptable, nil, codeInvalid, "Accept has neither application/json nor text/event-stream", nil)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(b.s.MaxLine)))
	if err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		refuse(w, status, nil, codeInvalid, "the body cannot be read, or is longer than --max-message", nil)
		return
	}
	messages, err := readClient(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, nil, codeParse, err.Error(), nil)
		return
	}
	for _, m := range messages {
		if bad := agree(r, m); bad != nil {
			refuse(w, bad.status, m.ID, bad.code, bad.text, nil)
			return
		}
	}
	b.route(w, r, owner, messages)
}

// route finds the process that messages are for.
func (b *Bridge) route(w http.ResponseWriter, r *http.Request, owner string, messages []*message) {
	first := messages[0]
	current := r.Header.Get(versionHeader) >= modern
	switch {
	case len(messages) > 1 && r.Header.Get(versionHeader) >= "2025-06-18":
		refuse(w, http.StatusBadRequest, nil, codeInvalid, "this revision of MCP has no batches", nil)
	case current && b.s.Sharing == PerSession && b.who == nil:
		unsupported(w, r, first.ID)
	case current || b.s.Sharing != PerSession:
		b.shared(w, r, owner, current, messages)
	case first.request() && first.Method == "initialize":
		b.initialize(w, r, owner, messages)
	default:
		id := r.Header.Get(sessionHeader)
		p := b.of(id, owner)
		switch {
		case id == "":
			refuse(w, http.StatusBadRequest, first.ID, codeInvalid, "the request has no "+sessionHeader+"; a session begins with initialize", nil)
		case p == nil:
			refuse(w, http.StatusNotFound, first.ID, codeInvalid, "there is no such session", nil)
		default:
			b.pass(w, r, p, owner, messages, false)
		}
	}
}

// unsupported tells a client of the revision without sessions to use an older one.
func unsupported(w http.ResponseWriter, r *http.Request, id json.RawMessage) {
	refuse(w, http.StatusBadRequest, id, codeUnsupported, "this revision of MCP cannot be served here", map[string]any{
		"supported": revisions, "requested": r.Header.Get(versionHeader),
	})
}

// initialize begins a session with a process of its own.
func (b *Bridge) initialize(w http.ResponseWriter, r *http.Request, owner string, messages []*message) {
	if len(messages) > 1 {
		refuse(w, http.StatusBadRequest, messages[0].ID, codeInvalid, "initialize is not part of a batch", nil)
		return
	}
	id, p, err := b.session(owner)
	if err != nil {
		troubled(w, messages[0].ID, err)
		return
	}
	w.Header().Set(sessionHeader, id)
	b.pass(w, r, p, owner, messages, false)
	if p.over() {
		b.penalize() // it ended before its first answer
	} else {
		b.forgive()
	}
}

// shared passes messages to a process that several clients share.
func (b *Bridge) shared(w http.ResponseWriter, r *http.Request, owner string, current bool, messages []*message) {
	g := group{modern: current}
	if b.s.Sharing != Shared {
		g.owner = owner
	}
	p, err := b.grouped(r.Context(), g)
	first := messages[0]
	switch {
	case errors.Is(err, errOld):
		unsupported(w, r, first.ID)
	case err != nil:
		troubled(w, first.ID, err)
	case first.Method == "initialize" && first.request() && !current:
		body, _ := (&message{ID: first.ID, Result: p.hello}).encode()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	case current:
		if bad := p.tools.agree(r.Context(), r.Header, first); bad != nil {
			refuse(w, bad.status, first.ID, bad.code, bad.text, nil)
			return
		}
		b.pass(w, r, p, owner, messages, true)
	default:
		b.pass(w, r, p, owner, messages, false)
	}
}

// pass sends messages to a process, and its answers to the client.
func (b *Bridge) pass(w http.ResponseWriter, r *http.Request, p *process, owner string, messages []*message, current bool) {
	var requests []*message
	for _, m := range messages {
		if m.request() {
			requests = append(requests, m)
			continue
		}
		if err := p.tell(m, owner); err != nil {
			troubled(w, nil, err)
			return
		}
	}
	if len(requests) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	to := newStream()
	if err := p.ask(to, owner, requests...); err != nil {
		troubled(w, requests[0].ID, err)
		return
	}
	defer func() {
		to.leave()
		if current { // leaving is how that revision cancels
			p.withdraw(to)
		}
	}()
	to.answer(w, r, len(messages) == 1, current)
}

// get opens the stream for messages that belong to no request.
func (b *Bridge) get(w http.ResponseWriter, r *http.Request, owner string) {
	var p *process
	switch _, events := accepts(r); {
	case !events:
		refuse(w, http.StatusNotAcceptable, nil, codeInvalid, "Accept lacks text/event-stream", nil)
		return
	case r.Header.Get(versionHeader) >= modern || b.s.Sharing != PerSession:
		w.Header().Set("Allow", "POST")
		refuse(w, http.StatusMethodNotAllowed, nil, codeInvalid, "there is no stream without a session", nil)
		return
	}
	if p = b.of(r.Header.Get(sessionHeader), owner); p == nil {
		refuse(w, http.StatusNotFound, nil, codeInvalid, "there is no such session", nil)
		return
	}
	s, err := p.listen()
	if err != nil {
		troubled(w, nil, err)
		return
	}
	defer p.unlisten(s)
	s.events(w, r, item{})
}

// delete ends a session.
func (b *Bridge) delete(w http.ResponseWriter, r *http.Request, owner string) {
	p := b.of(r.Header.Get(sessionHeader), owner)
	if p == nil {
		refuse(w, http.StatusNotFound, nil, codeInvalid, "there is no such session", nil)
		return
	}
	b.mu.Lock()
	delete(b.sessions, r.Header.Get(sessionHeader))
	b.mu.Unlock()
	go p.stop("the client ended the session")
	w.WriteHeader(http.StatusNoContent)
}
