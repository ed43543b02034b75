package bridge

import (
	"bytes"
	"encoding/json"
	"testing"
)

// A message stays what it was when it is passed on, and is one line.
func TestEncode(t *testing.T) {
	for text, want := range map[string]string{
		"{\"jsonrpc\": \"2.0\", \"id\": \"a\\n\", \"method\": \"x\\u0000<\", \"params\": {\n\t\"a\": \"<\\r\\n>\",\r\n \"b\": [1.50,\n2e3]\n}}": `{"jsonrpc":"2.0","id":"a\n","method":"x\u0000\u003c","params":{` + "\t" + `"a": "<\r\n>", "b": [1.50,2e3]}}`,
		`{"jsonrpc":"2.0","id":7,"result":{"text":"\u2028 ` + "\u2028" + `"}}`:                                                                  `{"jsonrpc":"2.0","id":7,"result":{"text":"\u2028 ` + "\u2028" + `"}}`,
		`{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"},"result":null}`:                                                              `{"jsonrpc":"2.0","id":7,"result":null,"error":{"code":1,"message":"no"}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized","params":{}, "more": "is lost"}`:                                                 `{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}`,
	} {
		m, err := decode([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := m.line()
		if err != nil || string(got) != want+"\n" || !json.Valid(got) || bytes.Count(got, []byte("\n")) != 1 {
			t.Errorf("%s became %s, %v", text, got, err)
		}
	}
}

// A client's token is replaced however its name is written: one that passed could be the
// number of another person's request.
func TestTokenInDisguise(t *testing.T) {
	for _, params := range []string{`{"_meta":{"progressToken":7}}`, `{"_meta":{"progress\u0054oken":7}}`, `{"\u005fmeta":{"progressToken":7}}`, `{"_meta":{"progressToken":1,"progressToken":7}}`} {
		got, old := edit(json.RawMessage(params), func(json.RawMessage) json.RawMessage { return number(12) }, "_meta", "progressToken")
		if string(got) != `{"_meta":{"progressToken":12}}` || string(old) != "7" {
			t.Errorf("%s: %s, %s", params, got, old)
		}
	}
}
