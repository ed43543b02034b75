package actor

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	a, err := Parse(json.RawMessage(`{"sub":"agent-2","iss":"https://agents.example","x":1,"act":{"sub":"agent-1","client_id":"c"}}`), "https://idp.example")
	if err != nil || a.String() != "agents.example:agent-2 < idp.example:agent-1" || a.Act.ClientID != "c" {
		t.Fatalf("%v %v", a, err)
	}
	nested := func(n int) string {
		return strings.Repeat(`{"sub":"a","act":`, n-1) + `{"sub":"a"}` + strings.Repeat("}", n-1)
	}
	if _, err := Parse(json.RawMessage(nested(MaxDepth)), ""); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		``, `null`, `{}`, `[]`, `"agent"`, `{"sub":1}`, `{"sub":""}`, `{"sub":"a b"}`, `{"sub":"a\n"}`, `{"sub":"a","act":{}}`, `{"sub":"a","iss":"a\u0000"}`,
		`{"sub":"` + strings.Repeat("a", maxBytes+1) + `"}`, nested(MaxDepth + 1), `{"sub":"a"}` + strings.Repeat(" ", 1<<16),
	} {
		if a, err := Parse(json.RawMessage(bad), "https://idp.example"); err == nil {
			t.Errorf("%.60s: %v", bad, a)
		}
	}
	var none *Actor
	if none.String() != "" || none.Names() != nil || none.Name() != "" {
		t.Error("no one has a name")
	}
}
