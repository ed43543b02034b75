package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case r.Host == "mcp.example.com" && r.Header.Get("X-Original-URL") == "https://mcp.example.com/mcp":
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	for _, c := range []struct {
		name string
		args []string
		want string // part of the error, "" for none
	}{
		{"200", []string{server.URL}, ""},
		{"another status", []string{"--status", "404", server.URL}, "answers 200 OK, want 404"},
		{"host and header", []string{"--status=401", "--host=mcp.example.com", "--header=X-Original-URL: https://mcp.example.com/mcp", server.URL}, ""},
		{"redirects are answers", []string{"--status=302", server.URL + "/moved"}, ""},
		{"nobody there", []string{"http://127.0.0.1:1"}, "connection refused"},
		{"no URL", nil, "give one URL"},
		{"no colon", []string{"--header=a", server.URL}, "has no colon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			err := run(t.Context(), append([]string{"probe"}, c.args...), streams{strings.NewReader(""), &out, io.Discard})
			switch {
			case c.want == "" && (err != nil || !strings.Contains(out.String(), " answers ")):
				t.Errorf("%v, printed %q", err, out.String())
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
