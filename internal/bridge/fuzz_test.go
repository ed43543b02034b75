package bridge

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
)

// What is read from a client reaches the process as one line, and says there what it
// said here: nothing that a client sends can be two messages, or another one.
func FuzzClientMessages(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"a":"\u2028\n"},"_meta":{"progressToken":1}}}`,
		"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\n\"method\":\"ping\"}", `[{"jsonrpc":"2.0","method":"notifications/initialized"}]`,
		`{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`, `[]`, `{"jsonrpc":"2.0","id":1,"method":"x","Method":"y"}`, "\xff", `{`,
	} {
		f.Add([]byte(seed), "2026-07-28", "tools/call")
	}
	f.Fuzz(func(t *testing.T, body []byte, version, method string) {
		all, err := readClient(body)
		if err != nil {
			return
		}
		r := &http.Request{Method: http.MethodPost, Header: http.Header{versionHeader: {version}, "Mcp-Method": {method}, "Mcp-Name": {method}}}
		for _, m := range all {
			if bad := agree(r, m); bad != nil && (bad.status < 400 || bad.text == "") {
				t.Errorf("%q is refused with %+v", body, bad)
			}
			line, err := m.line()
			if err != nil || bytes.IndexByte(line, '\n') != len(line)-1 || bytes.IndexByte(line, '\r') >= 0 || !json.Valid(line) {
				t.Fatalf("%q becomes %q, %v", body, line, err)
			}
			again, err := readClient(line)
			if err != nil || len(again) != 1 || again[0].Method != m.Method || !bytes.Equal(again[0].ID, m.ID) {
				t.Fatalf("%q becomes %q, which is read as %+v, %v", body, line, again, err)
			}
		}
	})
}
