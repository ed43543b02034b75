package operator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/operator"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const token = "0123456789abcdef0123456789abcdef"

func start(t *testing.T) *servertest.Service {
	t.Helper()
	return servertest.Start(t, servertest.Options{
		Edit:  func(f *config.File) { f.Operators.Token = conf.NewSecret("operators.token") },
		Files: map[string]string{"operators.token": token + "\n"},
	})
}

// ask sends a request to the management listener.
func ask(t *testing.T, s *servertest.Service, method, path, body string, header ...string) (status int, text string) {
	t.Helper()
	req := servertest.Request(t, method, "http://"+s.ManagementAddress()+path, body, header...)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func list(t *testing.T, s *servertest.Service, query string) operator.List {
	t.Helper()
	status, text := ask(t, s, http.MethodGet, operator.Path+query, "", "Authorization", "Bearer "+token)
	var out operator.List
	if err := json.Unmarshal([]byte(text), &out); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	return out
}

func TestWhoHasAccess(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "Notes app", "grant_types": []string{"authorization_code", "refresh_token"}})
	k := servertest.SignIn(t, c)

	for _, query := range []string{"", "?subject=static:jane", "?email=JANE@example.com", "?resource=" + servertest.Resource} {
		got := list(t, s, query)
		if len(got.People) != 1 || len(got.People[0].Entries) != 1 || got.Complete {
			t.Fatalf("%q: %+v", query, got)
		}
		e := got.People[0].Entries[0]
		if got.People[0].Email != servertest.Email || e.Name != "Notes app" || e.Resource != servertest.Resource || len(e.Scopes) == 0 || e.ID == "" || e.Until <= e.Since {
			t.Errorf("%q: %+v", query, got.People[0])
		}
	}
	for _, query := range []string{"?subject=static:joe", "?email=joe@example.com", "?resource=https://other.example.com/mcp"} {
		if got := list(t, s, query); len(got.People) != 0 {
			t.Errorf("%q: %+v", query, got)
		}
	}
	k = k.Again(t)
	if e := list(t, s, "").People[0].Entries; len(e) != 1 {
		t.Errorf("a refresh makes another entry: %+v", e)
	}

	id := list(t, s, "").People[0].Entries[0].ID
	if status, text := ask(t, s, http.MethodPost, operator.EndPath, `{"subject":"static:jane","id":"`+id+`"}`, "Authorization", "Bearer "+token); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
	k.Refused(t, 400, "invalid_grant", "family_revoked")
	if got := list(t, s, ""); len(got.People) != 0 {
		t.Errorf("the list has what was ended: %+v", got)
	}
	for _, who := range []string{`{"email":"jane@EXAMPLE.com"}`, `{"subject":"static:jane"}`} {
		k := servertest.SignIn(t, c)
		if status, text := ask(t, s, http.MethodPost, operator.EndPath, who, "Authorization", "Bearer "+token); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
		k.Refused(t, 400, "invalid_grant", "person_ended")
		if e := s.Log.Last(audit.PersonEnded); e["reason"] != "ended_by_operator" {
			t.Errorf("audit: %v", e)
		}
		s.Clock.Advance(10 * 1e9)
	}
}

func TestOperatorsAuthenticate(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, header := range map[string][]string{
		"none": nil, "another": {"Authorization", "Bearer " + strings.ToUpper(token)}, "a part": {"Authorization", "Bearer " + token[:31]},
		"another scheme": {"Authorization", "Basic " + token}, "empty": {"Authorization", "Bearer "},
	} {
		for _, call := range [][2]string{{http.MethodGet, operator.Path}, {http.MethodPost, operator.EndPath}} {
			if status, text := ask(t, s, call[0], call[1], `{"subject":"x"}`, header...); status != http.StatusUnauthorized {
				t.Errorf("%s %s: %d %s", name, call[1], status, text)
			}
		}
	}
	for _, body := range []string{"", "{}", `{"subject":"a","email":"b"}`, `{"email":"b","id":"c"}`, `{"subjects":"a"}`, "[]"} {
		if status, text := ask(t, s, http.MethodPost, operator.EndPath, body, "Authorization", "Bearer "+token); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	off := servertest.Start(t, servertest.Options{})
	if status, _ := ask(t, off, http.MethodGet, operator.Path, "", "Authorization", "Bearer "); status != http.StatusNotFound {
		t.Errorf("without a token in the configuration: %d", status)
	}
}
