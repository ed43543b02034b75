package sample

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// identified is a gateway that adds identity headers.
type identified struct{}

func (identified) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(DefaultUserHeader, "jane")
	r.Header.Set(DefaultEmailHeader, "jane@example.com")
	r.Header.Set(DefaultGroupsHeader, "dev, ops")
	r.Host = "mcp.example.com" // passed on by the gateway
	return http.DefaultTransport.RoundTrip(r)
}

func connect(t *testing.T, o Options, version string) *mcp.ClientSession {
	t.Helper()
	srv := httptest.NewServer(Handler(o))
	t.Cleanup(srv.Close)
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: srv.URL, HTTPClient: &http.Client{Transport: identified{}}, MaxRetries: -1, DisableStandaloneSSE: true,
	}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// call calls a tool and reads its structured answer.
func call(t *testing.T, s *mcp.ClientSession, name string, in any, out any) *mcp.CallToolResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: in})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if out != nil {
		if res.IsError {
			t.Fatalf("%s: %+v", name, res.Content[0])
		}
		b, _ := json.Marshal(res.StructuredContent)
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatal(err)
		}
	}
	return res
}

func TestEveryClient(t *testing.T) {
	for _, o := range []Options{{}, {Stateless: true}, {JSON: true}, {Stateless: true, JSON: true}} {
		for _, version := range []string{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"} {
			t.Run(fmt.Sprintf("stateless=%v json=%v %s", o.Stateless, o.JSON, version), func(t *testing.T) {
				s := connect(t, o, version)
				want := version
				if !o.Stateless {
					want = min(version, "2025-11-25")
				}
				if got := s.InitializeResult().ProtocolVersion; got != want {
					t.Errorf("negotiated %s", got)
				}
				list, err := s.ListTools(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				checkList(t, list)

				var me Identity
				call(t, s, "whoami", nil, &me)
				if fmt.Sprint(me) != "{jane jane@example.com [dev ops] false}" {
					t.Errorf("whoami: %+v", me)
				}
				var made, read note
				call(t, s, "notes_create", newNote{"Lunch", "Soup"}, &made)
				call(t, s, "notes_read", noteID{made.ID}, &read)
				if read.Text != "Soup" || read.Author != "jane" {
					t.Errorf("note: %+v", read)
				}
				var all noteList
				call(t, s, "notes_list", nil, &all)
				if len(all.Notes) != 4 || all.Notes[3].Title != "Lunch" || all.Notes[3].Text != "" {
					t.Errorf("notes: %+v", all)
				}
				call(t, s, "notes_delete", noteID{made.ID}, &noteID{})
				if res := call(t, s, "notes_read", noteID{made.ID}, nil); !res.IsError {
					t.Error("deleted note is still there")
				}
				var w, again weather
				call(t, s, "weather_today", place{"Graz"}, &w)
				call(t, s, "weather_today", place{"graz"}, &again)
				if w.Sky == "" || w.Sky != again.Sky {
					t.Errorf("weather: %+v %+v", w, again)
				}
			})
		}
	}
}

// checkList: every tool is in a scope, every scope names real tools.
func checkList(t *testing.T, list *mcp.ListToolsResult) {
	t.Helper()
	var declared []scope
	b, _ := json.Marshal(list.Meta["scopes"])
	if err := json.Unmarshal(b, &declared); err != nil || len(declared) != 4 {
		t.Fatalf("_meta.scopes: %s", b)
	}
	var listed, covered []string
	for _, tool := range list.Tools {
		listed = append(listed, tool.Name)
		if tool.Title == "" || tool.Description == "" || tool.Annotations == nil {
			t.Errorf("%s is not described", tool.Name)
			continue
		}
		a := tool.Annotations
		if readOnly := tool.Name != "notes_create" && tool.Name != "notes_delete"; a.ReadOnlyHint != readOnly {
			t.Errorf("%s: read-only %v", tool.Name, a.ReadOnlyHint)
		}
		if tool.Name == "notes_delete" && !*a.DestructiveHint || tool.Name == "notes_create" && *a.DestructiveHint {
			t.Errorf("%s: destructive %v", tool.Name, *a.DestructiveHint)
		}
	}
	for _, s := range declared {
		if s.Name == "" || s.Description == "" {
			t.Errorf("scope %+v", s)
		}
		covered = append(covered, s.Tools...)
	}
	slices.Sort(listed)
	slices.Sort(covered)
	if !slices.Equal(listed, covered) || len(listed) != 6 {
		t.Errorf("tools %v, in scopes %v", listed, covered)
	}
}

func TestOptions(t *testing.T) {
	t.Run("pages carry the scopes", func(t *testing.T) {
		s := connect(t, Options{PageSize: 2, Stateless: true}, "")
		cursor, tools := "", 0
		for page := 0; page == 0 || cursor != ""; page++ {
			list, err := s.ListTools(t.Context(), &mcp.ListToolsParams{Cursor: cursor})
			if err != nil || list.Meta["scopes"] == nil {
				t.Fatalf("page %d: %v %v", page, err, list)
			}
			cursor, tools = list.NextCursor, tools+len(list.Tools)
		}
		if tools != 6 {
			t.Errorf("%d tools", tools)
		}
	})
	t.Run("without scopes", func(t *testing.T) {
		list, err := connect(t, Options{WithoutScopes: true}, "").ListTools(t.Context(), nil)
		if err != nil || list.Meta["scopes"] != nil || len(list.Tools) != 6 {
			t.Errorf("%v %v", err, list)
		}
	})
	t.Run("other header names", func(t *testing.T) {
		var me Identity
		call(t, connect(t, Options{UserHeader: "X-Other"}, ""), "whoami", nil, &me)
		if me.User != "" || me.Email == "" {
			t.Errorf("%+v", me)
		}
	})
}

func TestBounds(t *testing.T) {
	s := connect(t, Options{Stateless: true, JSON: true}, "")
	for _, in := range []newNote{{"", "x"}, {strings.Repeat("x", maxTitle+1), ""}, {"x", strings.Repeat("x", maxText+1)}} {
		if res := call(t, s, "notes_create", in, nil); !res.IsError {
			t.Errorf("accepted a note of %d, %d", len(in.Title), len(in.Text))
		}
	}
	store := &server{Options: Options{Now: time.Now}, notes: map[int]note{}}
	for range 2 * maxNotes {
		store.add("x", "y", "z")
	}
	if _, ok := store.notes[2*maxNotes]; !ok || len(store.notes) != maxNotes {
		t.Errorf("%d notes", len(store.notes))
	}
}
