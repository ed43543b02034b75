package policy

import "testing"

// What a credential itself is limited to holds whatever the rules allow, and where there
// are none at all.
func TestOnly(t *testing.T) {
	scoped := Bound{Scopes: []string{"notes"}, scopes: []boundScope{{opens: []string{"notes"}}}, notTools: []string{"read_secret"}}
	for name, b := range map[string]Bound{"without rules": {open: true}, "with rules": scoped} {
		limited := b.Only([]string{"read_*"})
		for tool, want := range map[string]bool{"read_note": true, "delete_note": false, "read": false, "": false} {
			if got := limited.MayCall(tool, []string{"notes"}); got != want {
				t.Errorf("%s, only read_*: %q may be called: %v", name, tool, got)
			}
		}
		if !limited.LimitsTools {
			t.Errorf("%s: a request whose tool is not known could pass", name)
		}
		if all := b.Only(nil); all.LimitsTools != b.LimitsTools || !all.MayCall("delete_note", []string{"notes"}) {
			t.Errorf("%s: a credential without a list is limited", name)
		}
	}
	if b := scoped.Only([]string{"read_*"}); b.MayCall("read_secret", []string{"notes"}) {
		t.Error("a tool that a rule denies is open to a credential that lists it")
	}
	if b := scoped.Only([]string{"read_*"}); b.MayCall("read_note", []string{"admin"}) {
		t.Error("a scope that was not granted opens a tool")
	}
}
