package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// deploySchema is that of a tool whose arguments headers repeat.
const deploySchema = `{"type":"object","properties":{
	"region":{"type":"string","x-mcp-header":"Region"},
	"size":{"type":"object","properties":{"count":{"type":"integer","x-mcp-header":"Count"}}},
	"dry":{"type":"boolean","x-mcp-header":"Dry-Run"},
	"note":{"type":"string"}}}`

// A call whose headers say something else than its arguments is refused, as the HTTP
// server of the Go SDK does.
func TestHeadersOfArguments(t *testing.T) {
	x := startBridge(t, "good", func(s *Settings) { s.Sharing = Shared })
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"a","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	call := func(tool, arguments string, headers ...string) answer {
		return post(t, x.url, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":`+arguments+`,`+meta+`}}`,
			append(headers, versionHeader, modern, "Mcp-Method", "tools/call", "Mcp-Name", tool)...)
	}
	for name, tt := range map[string]struct {
		arguments string
		headers   []string
		says      string // "" where it passes
	}{
		"no arguments":            {`{}`, nil, ""},
		"an argument without one": {`{"note":"x"}`, nil, ""},
		"a text":                  {`{"region":"eu"}`, []string{"Mcp-Param-Region", "eu"}, ""},
		"in Base64":               {`{"region":"ö"}`, []string{"Mcp-Param-Region", "=?base64?w7Y=?="}, ""},
		"a number":                {`{"size":{"count":3}}`, []string{"Mcp-Param-Count", "3"}, ""},
		"a number of other form":  {`{"size":{"count":3.0}}`, []string{"Mcp-Param-Count", "3"}, ""},
		"a boolean":               {`{"dry":false}`, []string{"Mcp-Param-Dry-Run", "false"}, ""},
		"null":                    {`{"region":null}`, nil, ""},
		"a header of no argument": {`{}`, []string{"Mcp-Param-Else", "x"}, ""},
		"another text":            {`{"region":"eu"}`, []string{"Mcp-Param-Region", "us"}, "something else"},
		"another number":          {`{"size":{"count":3}}`, []string{"Mcp-Param-Count", "4"}, "something else"},
		"another boolean":         {`{"dry":true}`, []string{"Mcp-Param-Dry-Run", "false"}, "something else"},
		"text that is no number":  {`{"size":{"count":3}}`, []string{"Mcp-Param-Count", "many"}, "something else"},
		"a fraction":              {`{"size":{"count":3.5}}`, []string{"Mcp-Param-Count", "3.5"}, "something else"},
		"an object":               {`{"region":{}}`, []string{"Mcp-Param-Region", "{}"}, "something else"},
		"in a list of many":       {`{"region":"eu"` + manyMembers() + `}`, []string{"Mcp-Param-Region", "us"}, "something else"},
		"missing":                 {`{"region":"eu"}`, nil, "is missing"},
		"of what is not there":    {`{}`, []string{"Mcp-Param-Region", "eu"}, "no such argument"},
		"of null":                 {`{"region":null}`, []string{"Mcp-Param-Region", "eu"}, "no such argument"},
		"no Base64 after all":     {`{"region":"=?base64?eu"}`, []string{"Mcp-Param-Region", "=?base64?eu"}, ""},
		"bad Base64":              {`{"region":"eu"}`, []string{"Mcp-Param-Region", "=?base64?*?="}, "base64"},
	} {
		a := call("deploy", tt.arguments, tt.headers...)
		switch {
		case tt.says == "" && (a.StatusCode != http.StatusOK || !strings.Contains(a.body, "deployed")):
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		case tt.says != "" && (a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "-32020") || !strings.Contains(a.body, tt.says)):
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	if a := call("echo", `{"text":"hello"}`, "Mcp-Param-Region", "x"); a.StatusCode != http.StatusOK {
		t.Errorf("a tool without bindings: %d %s", a.StatusCode, a.body)
	}
}

// manyMembers are more than a message may have beside its arguments.
func manyMembers() string {
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, `,"a%d":%d`, i, i)
	}
	return b.String()
}

// What is known is read again: before a refusal, for a tool that is not known, and when
// it is old. A server that cannot say is not taken for one that binds nothing.
func TestHeadersOfArgumentsChange(t *testing.T) {
	var now bindings
	var fails error
	asked := 0
	list := &toolHeaders{list: func(context.Context) (bindings, error) { asked++; return now, fails }}
	m := &message{Method: "tools/call", Params: []byte(`{"name":"deploy","arguments":{"region":"eu"}}`)}
	said := http.Header{"Mcp-Param-Region": {"eu"}}
	older := func(by time.Duration) {
		list.mu.Lock()
		defer list.mu.Unlock()
		list.began = list.began.Add(-by)
	}
	check := func(what string, h http.Header, status, reads int) {
		t.Helper()
		before := asked
		bad := list.agree(t.Context(), h, m)
		got := 0
		if bad != nil {
			got = bad.status
		}
		if got != status || asked-before != reads {
			t.Errorf("%s: %v, listed %d times", what, bad, asked-before)
		}
	}
	fails = errors.New("no")
	check("unknown", said, http.StatusServiceUnavailable, 1)
	check("unknown, too soon to ask again", said, http.StatusServiceUnavailable, 0)
	check("unknown, without such headers", nil, 0, 0)
	older(2 * listPause)
	fails, now = nil, bindings{"deploy": {{[]string{"region"}, "Region"}}}
	check("known at last", said, 0, 1)
	check("missing", nil, http.StatusBadRequest, 0)
	check("twice", http.Header{"Mcp-Param-Region": {"eu", "eu"}}, http.StatusBadRequest, 0)
	now = bindings{"deploy": nil}
	older(2 * listPause)
	check("not bound any more", nil, 0, 1)
	now = bindings{}
	m.Params = []byte(`{"name":"other"}`)
	older(2 * listPause)
	check("another tool", nil, 0, 1)
	now = bindings{"deploy": {{[]string{"region"}, "Region"}}, "other": nil}
	older(2 * listPause)
	check("the other is there", nil, 0, 1)
	older(2 * listPause)
	check("nothing to ask for", nil, 0, 0)
}
