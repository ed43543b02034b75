package asked

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A credential goes to the configured address and no further, and no answer fills the memory.
func TestPost(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.Header.Get("Authorization") != "Basic x" || r.UserAgent() != "mcp-forward-auth" || string(body) != "token=secret" {
			t.Errorf("%s %v %q", r.Method, r.Header, body)
		}
		w.Header().Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case "/largest":
			io.WriteString(w, strings.Repeat("x", maxAnswer))
		case "/larger":
			io.WriteString(w, strings.Repeat("x", maxAnswer+1))
		default:
			http.Redirect(w, r, "/largest", http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(server.Close)
	c := NewClient(server.Client().Transport, time.Minute)
	for path, want := range map[string]struct {
		status, bytes int
		err           error
	}{
		"/largest":    {200, maxAnswer, nil},
		"/larger":     {200, maxAnswer + 1, errTooLarge},
		"/redirected": {307, 0, nil},
	} {
		status, media, answer, err := c.Post(t.Context(), server.URL+path, http.Header{"Authorization": {"Basic x"}}, "token=secret")
		if status != want.status || media != "text/plain" || len(answer) != want.bytes || !errors.Is(err, want.err) {
			t.Errorf("%s: %d %s, %d bytes, %v", path, status, media, len(answer), err)
		}
	}
	server.Close()
	if _, _, _, err := c.Post(t.Context(), server.URL, nil, ""); err == nil {
		t.Error("a server that is not there answered")
	}
	if _, _, _, err := c.Post(t.Context(), "http://secret@%zz", nil, ""); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an address that is none: %v", err)
	}
}
