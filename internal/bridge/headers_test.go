package bridge

import (
	"fmt"
	"net/http"
	"testing"
)

// What a gateway may have decided by is what the body says, and no header is there twice.
func TestAgree(t *testing.T) {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`
	type headers map[string][]string
	called := func(names ...string) headers {
		return headers{versionHeader: {modern}, "Mcp-Method": {"tools/call"}, "Mcp-Name": names}
	}
	said := func(method string) headers { return headers{versionHeader: {modern}, "Mcp-Method": {method}} }
	request := func(method, params string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, params)
	}
	call := func(name string) string { return request("tools/call", fmt.Sprintf(`"name":%q,%s`, name, meta)) }
	type test struct {
		name string
		h    headers
		body string
		code int // of the refusal, 0 for none
	}
	tests := []test{
		{"an older revision", headers{}, request("tools/call", `"name":"a"`), 0},
		{"an older revision, and a newer one in the body", headers{}, call("a"), codeHeaders},
		{"an older revision that mentions the member", headers{}, request("tools/call", `"name":"a","x":"io.modelcontextprotocol/protocolVersion"`), 0},
		{"another revision", headers{versionHeader: {"2026-08-01"}, "Mcp-Method": {"tools/list"}}, request("tools/list", meta), codeHeaders},
		{"the beginning of an encoding alone", called("=?base64?YQ=="), call("=?base64?YQ=="), 0},
		{"a call", called("a"), call("a"), 0},
		{"another name", called("b"), call("a"), codeHeaders},
		{"no name in the headers", called(), call("a"), codeHeaders},
		{"two names in the headers", called("a", "b"), call("a"), codeHeaders},
		{"one name twice", called("a", "a"), call("a"), codeHeaders},
		{"no name at all", called(""), request("tools/call", meta), codeHeaders},
		{"a name that is no text", called(""), request("tools/call", `"name":1,`+meta), codeHeaders},
		{"white space around it", called(" a\t"), call("a"), 0},
		{"an encoded name", called("=?base64?ZMO2?="), call("dö"), 0},
		{"an encoding that breaks off", called("=?base64?YWJj*?="), call("abc"), codeHeaders},
		{"the end of an encoding alone", called("a?="), call("a?="), 0},
		{"two methods", headers{versionHeader: {modern}, "Mcp-Method": {"tools/list", "tools/call"}}, request("tools/list", meta), codeHeaders},
		{"no revision in the body", said("tools/list"), request("tools/list", ""), codeParams},
		{"metadata that is none", said("tools/list"), request("tools/list", `"_meta":5`), codeParams},
		{"a notification", said("notifications/x"), `{"jsonrpc":"2.0","method":"notifications/x"}`, 0},
		{"a notification with another method", said("notifications/y"), `{"jsonrpc":"2.0","method":"notifications/x"}`, codeHeaders},
		{"an answer", headers{versionHeader: {modern}}, `{"jsonrpc":"2.0","id":1,"result":{}}`, 0},
	}
	for _, method := range []string{"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"} {
		tests = append(tests, test{method + " is gone", said(method), request(method, meta), codeNoMethod})
	}
	tests = append(tests, test{"the notification that is gone", said("notifications/initialized"), `{"jsonrpc":"2.0","method":"notifications/initialized"}`, codeNoMethod})
	for method, member := range map[string]string{"prompts/get": "name", "resources/read": "uri", "tasks/get": "taskId", "tasks/cancel": "taskId", "tasks/update": "taskId"} {
		body := request(method, fmt.Sprintf(`%q:"a",%s`, member, meta))
		for name, code := range map[string]int{"a": 0, "b": codeHeaders} {
			tests = append(tests, test{method + " of " + name, headers{versionHeader: {modern}, "Mcp-Method": {method}, "Mcp-Name": {name}}, body, code})
		}
	}
	for _, tt := range tests {
		all, err := readClient([]byte(tt.body))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		bad := agree(&http.Request{Header: http.Header(tt.h)}, all[0])
		if (bad == nil) != (tt.code == 0) || bad != nil && (bad.code != tt.code || bad.status < 400 || bad.text == "") {
			t.Errorf("%s: %+v, want %d", tt.name, bad, tt.code)
		}
	}
}

// The code of an error decides the status in the revision without sessions alone.
func TestStatusOf(t *testing.T) {
	for answer, want := range map[string]int{
		`{"result":{}}`: 200, `{"error":{"code":-32603}}`: 200, `{"error":{"code":-32601}}`: 404, `{"error":{"code":-32602}}`: 400, `{"error":{"code":-32020}}`: 400,
		`{"error":{"code":-32021}}`: 400, `{"error":{}}`: 200, `{"error":null}`: 200, `[]`: 200,
	} {
		if got, before := statusOf([]byte(answer), true), statusOf([]byte(answer), false); got != want || before != 200 {
			t.Errorf("%s: %d, want %d; %d in older revisions", answer, got, want, before)
		}
	}
}
