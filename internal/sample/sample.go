// Package sample is a small, friendly MCP server: a team's notes, the weather
// and "who am I". It is what the demo protects and what tests talk to.
//
// Its invariant: it knows nothing of authorization. A caller that reaches it may use
// every tool; it declares its scopes in tools/list _meta.scopes and believes
// the identity headers it is sent, as any server behind a gateway would. It
// keeps a bounded number of notes, in memory only.
package sample

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Identity header names used where Options name none.
const (
	DefaultUserHeader   = "X-Auth-Request-User"
	DefaultEmailHeader  = "X-Auth-Request-Email"
	DefaultGroupsHeader = "X-Auth-Request-Groups"
)

const (
	maxNotes = 200
	maxTitle = 200
	maxText  = 4000
)

// Options are the settings of the server; the zero value is a server with
// sessions. Clients of every revision can use either kind, but only a
// stateless one speaks 2026-07-28 with them: where there are sessions, those
// clients fall back to the initialize handshake.
type Options struct {
	// Stateless makes every request stand alone. The demo wants this: it is
	// what 2026-07-28 asks for, and per-tool authorization rests on that revision.
	Stateless bool
	// JSON answers with plain JSON instead of an event stream.
	JSON bool
	// PageSize is the number of tools in a page of tools/list; 0 means all.
	PageSize int
	// WithoutScopes leaves _meta.scopes out, as most servers do today.
	WithoutScopes bool
	// UserHeader, EmailHeader and GroupsHeader are the identity headers that
	// whoami reads; empty means the defaults.
	UserHeader, EmailHeader, GroupsHeader string
	// Version is what the server calls itself besides its name; may be empty.
	Version string
	// Now is time.Now if nil.
	Now func() time.Time
}

// scope is one entry of _meta.scopes.
type scope struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Tools       []string `json:"tools"`
}

var scopes = []scope{
	{"notes:read", "See the titles and texts of the team's notes", []string{"notes_list", "notes_read"}},
	{"notes:write", "Write new notes and delete notes for everyone", []string{"notes_create", "notes_delete"}},
	{"weather:read", "Ask for today's weather", []string{"weather_today"}},
	{"profile", "See who you are signed in as", []string{"whoami"}},
}

// Handler returns the MCP server as a handler for one endpoint. Each handler
// has notes of its own.
func Handler(o Options) http.Handler {
	o.UserHeader = or(o.UserHeader, DefaultUserHeader)
	o.EmailHeader = or(o.EmailHeader, DefaultEmailHeader)
	o.GroupsHeader = or(o.GroupsHeader, DefaultGroupsHeader)
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &server{Options: o, notes: map[int]note{}}
	for _, n := range [][2]string{
		{"Welcome", "This server sits behind a gateway that asked whether you may be here."},
		{"Standup", "Every day at 09:30. Bring coffee."},
		{"Release", "Ship on Tuesday, never on Friday."},
	} {
		s.add(n[0], n[1], "demo")
	}
	m := s.build()
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m }, &mcp.StreamableHTTPOptions{
		Stateless:      o.Stateless,
		JSONResponse:   o.JSON,
		SessionTimeout: 10 * time.Minute, // clients that never end their session must not pile up
		// The gateway in front passes the public host name on to a server that
		// often listens on the loopback address only. Which hosts are served is the gateway's to say.
		DisableLocalhostProtection: true,
		MaxRequestBodyBytes:        64 << 10,
	})
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

type server struct {
	Options

	mu    sync.Mutex
	notes map[int]note
	last  int
}

type note struct {
	ID      int    `json:"id"`
	Title   string `json:"title"`
	Text    string `json:"text,omitempty"`
	Author  string `json:"author"`
	Created string `json:"created"`
}

func (s *server) build() *mcp.Server {
	m := mcp.NewServer(
		&mcp.Implementation{Name: "sample-notes", Title: "Team notes", Version: or(s.Version, "dev")},
		&mcp.ServerOptions{
			PageSize:     s.PageSize,
			Instructions: "A team's shared notes, the weather, and who is asking.",
			Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}}, // the tools never change
		})
	readOnly := func(title string) *mcp.ToolAnnotations {
		return &mcp.ToolAnnotations{Title: title, ReadOnlyHint: true, OpenWorldHint: new(false)}
	}
	mcp.AddTool(m, &mcp.Tool{Name: "notes_list", Title: "List notes", Description: "Lists the team's notes, without their texts.", Annotations: readOnly("List notes")}, s.notesList)
	mcp.AddTool(m, &mcp.Tool{Name: "notes_read", Title: "Read a note", Description: "Returns one note with its text.", Annotations: readOnly("Read a note")}, s.notesRead)
	mcp.AddTool(m, &mcp.Tool{Name: "notes_create", Title: "Write a note", Description: "Adds a note that everyone on the team can read.",
		Annotations: &mcp.ToolAnnotations{Title: "Write a note", DestructiveHint: new(false), OpenWorldHint: new(false)}}, s.notesCreate)
	mcp.AddTool(m, &mcp.Tool{Name: "notes_delete", Title: "Delete a note", Description: "Deletes a note for everyone.",
		Annotations: &mcp.ToolAnnotations{Title: "Delete a note", DestructiveHint: new(true), IdempotentHint: true, OpenWorldHint: new(false)}}, s.notesDelete)
	mcp.AddTool(m, &mcp.Tool{Name: "weather_today", Title: "Today's weather", Description: "Says what today's weather is like in a city (made up, but steadily so).", Annotations: readOnly("Today's weather")}, s.weatherToday)
	mcp.AddTool(m, &mcp.Tool{Name: "whoami", Title: "Who am I", Description: "Returns the identity that the gateway put into the request.", Annotations: readOnly("Who am I")}, s.whoami)
	if !s.WithoutScopes {
		m.AddReceivingMiddleware(declareScopes)
	}
	return m
}

// declareScopes puts the scopes into every page of tools/list: the SDK has no
// option for the _meta of a list.
func declareScopes(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		res, err := next(ctx, method, req)
		if list, ok := res.(*mcp.ListToolsResult); ok && list != nil {
			meta := maps.Clone(list.Meta)
			if meta == nil {
				meta = mcp.Meta{}
			}
			meta["scopes"] = scopes
			list.Meta = meta
		}
		return res, err
	}
}

type nothing struct{}

type noteID struct {
	ID int `json:"id" jsonschema:"the note's number"`
}

type newNote struct {
	Title string `json:"title" jsonschema:"a short title"`
	Text  string `json:"text" jsonschema:"the text of the note"`
}

type noteList struct {
	Notes []note `json:"notes"`
}

func (s *server) notesList(context.Context, *mcp.CallToolRequest, nothing) (*mcp.CallToolResult, noteList, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := noteList{Notes: []note{}}
	for _, id := range slices.Sorted(maps.Keys(s.notes)) {
		n := s.notes[id]
		n.Text = ""
		out.Notes = append(out.Notes, n)
	}
	return nil, out, nil
}

func (s *server) notesRead(_ context.Context, _ *mcp.CallToolRequest, in noteID) (*mcp.CallToolResult, note, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.notes[in.ID]
	if !ok {
		return nil, note{}, fmt.Errorf("there is no note %d", in.ID)
	}
	return nil, n, nil
}

func (s *server) notesCreate(_ context.Context, req *mcp.CallToolRequest, in newNote) (*mcp.CallToolResult, note, error) {
	if in.Title == "" {
		return nil, note{}, fmt.Errorf("a note needs a title")
	}
	if utf8.RuneCountInString(in.Title) > maxTitle || utf8.RuneCountInString(in.Text) > maxText {
		return nil, note{}, fmt.Errorf("a title has at most %d characters, a text %d", maxTitle, maxText)
	}
	return nil, s.add(in.Title, in.Text, or(s.caller(req).User, "somebody")), nil
}

func (s *server) notesDelete(_ context.Context, _ *mcp.CallToolRequest, in noteID) (*mcp.CallToolResult, noteID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.notes[in.ID]; !ok {
		return nil, noteID{}, fmt.Errorf("there is no note %d", in.ID)
	}
	delete(s.notes, in.ID)
	return nil, in, nil
}

// add stores a note; beyond the limit the oldest one makes room.
func (s *server) add(title, text, author string) note {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notes) >= maxNotes {
		delete(s.notes, slices.Min(slices.Collect(maps.Keys(s.notes))))
	}
	s.last++
	n := note{ID: s.last, Title: title, Text: text, Author: author, Created: s.Now().UTC().Format(time.RFC3339)}
	s.notes[n.ID] = n
	return n
}

type place struct {
	City string `json:"city" jsonschema:"the name of a city"`
}

type weather struct {
	City    string `json:"city"`
	Date    string `json:"date"`
	Sky     string `json:"sky"`
	Celsius int    `json:"celsius"`
}

func (s *server) weatherToday(_ context.Context, _ *mcp.CallToolRequest, in place) (*mcp.CallToolResult, weather, error) {
	if in.City == "" || utf8.RuneCountInString(in.City) > maxTitle {
		return nil, weather{}, fmt.Errorf("name a city")
	}
	date := s.Now().UTC().Format(time.DateOnly)
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %s", strings.ToLower(in.City), date)
	skies := []string{"sunny", "cloudy", "rainy", "windy", "foggy", "a rainbow"}
	n := int(h.Sum32() % 1000)
	return nil, weather{City: in.City, Date: date, Sky: skies[n%len(skies)], Celsius: n%30 + 1}, nil
}

// Identity is what whoami answers: the identity headers of the request.
type Identity struct {
	User   string   `json:"user"`
	Email  string   `json:"email"`
	Groups []string `json:"groups"`
	// Authorization says whether the client's token came through, which a
	// gateway should not let happen without need. Its value is never returned.
	Authorization bool `json:"authorization"`
}

func (s *server) whoami(_ context.Context, req *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, Identity, error) {
	return nil, s.caller(req), nil
}

func (s *server) caller(req *mcp.CallToolRequest) Identity {
	id := Identity{Groups: []string{}}
	if req.Extra == nil {
		return id
	}
	h := req.Extra.Header
	id.User, id.Email = h.Get(s.UserHeader), h.Get(s.EmailHeader)
	for g := range strings.SplitSeq(h.Get(s.GroupsHeader), ",") {
		if g = strings.TrimSpace(g); g != "" {
			id.Groups = append(id.Groups, g)
		}
	}
	id.Authorization = h.Get("Authorization") != ""
	return id
}
