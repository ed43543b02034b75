package catalog_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
)

// TestSample reads the server that the demo protects.
func TestSample(t *testing.T) {
	var hashes []string
	for _, o := range []sample.Options{{}, {Stateless: true}, {Stateless: true, JSON: true}, {PageSize: 1}} {
		srv := httptest.NewServer(sample.Handler(o))
		c, err := new(catalog.Fetcher).Fetch(t.Context(), srv.URL)
		srv.Close()
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		if got := fmt.Sprint(c.ScopeNames()); got != "[notes:read notes:write weather:read profile]" || c.Dropped != 0 || len(c.Tools) != 6 {
			t.Errorf("%+v: %s, %d tools, %d dropped", o, got, len(c.Tools), c.Dropped)
		}
		if got := fmt.Sprint(c.ScopesForTool("notes_delete")); got != "[notes:write]" {
			t.Errorf("%+v: notes_delete is in %s", o, got)
		}
		if d, _ := c.Tool("notes_delete"); !d.Destructive || d.ReadOnly {
			t.Errorf("%+v: %+v", o, d)
		}
		hashes = append(hashes, c.Hash())
	}
	for _, h := range hashes[1:] {
		if h != hashes[0] {
			t.Errorf("AS-CONS-17 the hash depends on how the list is sent: %v", hashes)
		}
	}
}
