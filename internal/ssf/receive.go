package ssf

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Path is where events are pushed to, with the id of the stream behind it.
const Path = "/security-events"

// Options are what a Receiver is made of.
type Options struct {
	Streams []Stream
	// Transport reaches transmitters whose certificates these authorities vouch for.
	Transport func(authorities []byte) http.RoundTripper
	// Redeem reports whether an id is used for the first time, see guard.Guard.
	Redeem func(ctx context.Context, id string, expires time.Time) (bool, error)
	Ended  *revocation.List
	// GrantLifetime is how long after now anything that was granted before can live.
	GrantLifetime time.Duration
	Audit         *audit.Log
	// Trouble, if set, is told why a stream brings nothing, nil once it does again.
	Trouble func(stream string, err error)
	Now     func() time.Time
}

// Receiver takes the events of all streams. New makes one.
type Receiver struct {
	Options
	streams []*receiving
}

type receiving struct {
	Stream
	keys   *jwks.Set
	client *http.Client
}

// Keys fetches the keys that the events of a stream are signed with.
func (s *Stream) Keys() *jwks.Source {
	return &jwks.Source{Issuer: s.Issuer, URL: s.JWKSURL, Documents: []string{"ssf-configuration", "openid-configuration", "oauth-authorization-server"}}
}

// New returns a Receiver, nil where there are no streams.
func New(o Options) *Receiver {
	if len(o.Streams) == 0 {
		return nil
	}
	if o.Trouble == nil {
		o.Trouble = func(string, error) {}
	}
	r := &Receiver{Options: o}
	for _, s := range o.Streams {
		transport := o.Transport(s.Authorities)
		source := s.Keys().Over(transport)
		report := func(f jwks.Fetch) {
			if f.Err != nil {
				o.Trouble(s.ID, f.Err)
			}
		}
		r.streams = append(r.streams, &receiving{
			Stream: s, keys: jwks.NewSet(s.Issuer, source.Fetch, report, o.Now),
			client: &http.Client{Transport: transport, Timeout: pollTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		})
	}
	return r
}

// Run fetches keys and polls until ctx ends.
func (r *Receiver) Run(ctx context.Context) {
	if r == nil {
		return
	}
	for _, s := range r.streams {
		go s.keys.Run(ctx)
		if s.Poll.Endpoint != "" {
			go r.poll(ctx, s)
		}
	}
}

// Routes returns the route that events are pushed to.
func (r *Receiver) Routes() []web.Route {
	return []web.Route{{Pattern: Path + "/{stream}", Methods: []string{http.MethodPost}, Serve: r.Push, Waits: true, Refused: audit.SecurityEventRefused}}
}

// maxEvent bounds an event, in bytes.
const maxEvent = 64 << 10

// Push answers a pushed event (RFC 8935, section 2): 202 once it has had its effect.
func (r *Receiver) Push(w http.ResponseWriter, req *http.Request, host *resource.Host) {
	s := r.find(req.PathValue("stream"))
	if s == nil || s.Push.Token.Reveal() == "" {
		web.JSON(w, http.StatusNotFound, web.ErrorBody{Error: "not_found", Description: "there is nothing at this path"})
		return
	}
	err := s.authenticate(req)
	if err == nil {
		err = mediaType(req)
	}
	var body []byte
	if err == nil {
		if body, err = web.Body(w, req, maxEvent); err != nil {
			err = refuse(invalidRequest, reasons.BodyTooLarge, "the body is too large, or could not be read")
		}
	}
	if err == nil {
		err = r.take(req.Context(), s, strings.TrimSpace(string(body)))
	}
	if err == nil {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	r.tell(w, req, host, s, err)
}

// tell answers a push that was not taken.
func (r *Receiver) tell(w http.ResponseWriter, req *http.Request, host *resource.Host, s *receiving, err error) {
	why, ok := errors.AsType[*refused](err)
	if !ok {
		why = refuse(temporarilyUnfit, reasons.GuardUnavailable, "the event cannot be taken right now")
	}
	r.Audit.Write(req.Context(), audit.Entry{Event: audit.SecurityEventRefused, Reason: why.reason, Host: host.Name, Name: s.ID, Cause: err})
	status := http.StatusBadRequest
	switch why.code {
	case authFailed:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", "Bearer")
	case temporarilyUnfit:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	}
	web.JSON(w, status, map[string]string{"err": why.code, "description": why.text})
}

func (r *Receiver) find(id string) *receiving {
	for _, s := range r.streams {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func (s *receiving) authenticate(req *http.Request) error {
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	want, got := sha256.Sum256([]byte(s.Push.Token.Reveal())), sha256.Sum256([]byte(strings.TrimSpace(token)))
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return refuse(authFailed, reasons.AccessDenied, "present the token of this stream")
	}
	return nil
}

func mediaType(req *http.Request) error {
	media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || media != "application/secevent+jwt" {
		return refuse(invalidRequest, reasons.WrongMediaType, "the body must be application/secevent+jwt")
	}
	return nil
}

// remembered is how long the id of an event is kept, so that the log tells one that
// comes again.
const remembered = 24 * time.Hour

// take verifies an event and ends what it is about. An error that is no *refused
// means that it should be sent again.
func (r *Receiver) take(ctx context.Context, s *receiving, raw string) error {
	now := r.Now()
	e, err := s.read(raw, s.keys, func() bool { return s.keys.Await(ctx) }, now)
	if err != nil {
		return err
	}
	entry := audit.Entry{Event: audit.SecurityEvent, Name: s.ID, TokenID: e.id, Cause: errors.New(strings.Join(e.types, " "))}
	if e.ends == (revocation.Person{}) {
		entry.Reason = reasons.EventWithoutEffect
		r.Audit.Write(ctx, entry)
		return nil
	}
	// What it ends is what came before it happened, so one that comes again ends nothing new.
	if err := r.Ended.EndPerson(e.ends, e.at, now.Add(r.GrantLifetime)); err != nil && !errors.Is(err, revocation.ErrUntold) {
		return err
	}
	first, err := r.Redeem(ctx, "security event "+s.Issuer+" "+e.id, now.Add(remembered))
	if err != nil {
		return err
	}
	entry.Reason = reasons.EndedByProvider
	if !first {
		entry.Reason = reasons.UsedTwice
	}
	entry.Subject, entry.Email = e.ends.Subject(), e.ends.Email()
	r.Audit.Write(ctx, entry)
	return nil
}
