package relay_test

import (
	"net/http"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A session is of no use to another person with the same client, nor to its owner at
// another server of the host.
func TestSessionIsOfItsOwner(t *testing.T) {
	t.Parallel()
	var file *config.File
	s := serveAt(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Mcp-Session-Id", "session.1")
		echo(w, r)
	}, func(f *config.File) {
		file = f
		users := f.Provider.Settings.(*static.Settings)
		bob := users.Users[0]
		bob.Username, bob.Email = "bob", "bob@example.com"
		users.Users = append(users.Users, bob)
	}, func(host *config.HostFile) {
		beside := *host
		beside.Path = "/beside"
		file.Proxy.Hosts = append(file.Proxy.Hosts, beside)
	})
	c := s.NewClient(t, servertest.Host, nil)
	c.Scope = "use"
	token := func(person, path string) string {
		b := s.NewBrowser()
		b.Username = person
		c.Resource = "https://" + servertest.Host + path
		return c.AccessToken(t, b)
	}
	send := func(person, path, session string) *servertest.Answer {
		s.forget()
		header := []string{"Authorization", "Bearer " + token(person, path)}
		if session != "" {
			header = append(header, "Mcp-Session-Id", session)
		}
		return s.Send(t, s.request(t, http.MethodPost, path, look, header...))
	}
	id := send(servertest.Username, "/mcp", "").Header.Get("Mcp-Session-Id")
	if id == "" {
		t.Fatal("there is no session")
	}
	for _, tt := range []struct {
		person, path string
		status       int
	}{{servertest.Username, "/mcp", 200}, {"bob", "/mcp", 404}, {servertest.Username, "/beside", 404}} {
		if a := send(tt.person, tt.path, id); a.Status != tt.status || (s.last() != nil) != (tt.status == 200) {
			t.Errorf("%s at %s: %d %s", tt.person, tt.path, a.Status, a.Body)
		}
		if a := send(tt.person, tt.path, ""); a.Status != 200 {
			t.Errorf("%s at %s, without a session: %d %s", tt.person, tt.path, a.Status, a.Body)
		}
	}
}
