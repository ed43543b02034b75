//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A person leaves: at the identity provider, or on the operator's deny-list.
func TestOffboarding(t *testing.T) {
	list := filepath.Join(t.TempDir(), "denied.yaml")
	write := func(t *testing.T, text string) {
		t.Helper()
		if err := os.WriteFile(list+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(list+".new", list); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "subjects: []\n")
	st := newStack(t, setup{provider: "oidc", change: func(file map[string]any) { file["denyList"] = map[string]any{"file": list} }})
	tool := func(t *testing.T, g grant) int {
		t.Helper()
		resp, _ := callTool(t, st.statelessURL, "whoami", g)
		return resp.StatusCode
	}
	// deny writes the list and waits until the service says that it has read it.
	deny := func(t *testing.T, text string) {
		t.Helper()
		before := len(st.audited("deny_list.loaded"))
		write(t, text)
		st.nextAudited(t, "deny_list.loaded", before)
	}

	for key, field := range map[string]string{"subjects": "subject", "clients": "client", "families": "family"} {
		t.Run("the deny-list names one of "+key, func(t *testing.T) {
			track(t)
			before := len(st.audited("token.issued"))
			g, a := signIn(t, st.statelessURL, alice)
			entry := st.nextAudited(t, "token.issued", before)[field] // where an operator looks
			if entry == "" {
				t.Fatalf("the audit log names no %s", field)
			}
			mustEqual(t, "status before", tool(t, g), http.StatusOK)
			deny(t, key+": ["+entry+"]\n")
			mustEqual(t, "status of the next request", tool(t, g), http.StatusUnauthorized)
			if r := a.client.refresh(t, g.RefreshToken); r.status != http.StatusBadRequest || r.Error != "invalid_grant" {
				t.Errorf("a refresh answered %d %s", r.status, r.Error)
			}
			other, _ := trySignIn(t, st.statelessURL)
			if denied := other.AccessToken == ""; denied != (key == "subjects") {
				t.Errorf("another sign-in of the same person: denied %v", denied)
			}
			deny(t, "subjects: []\n")
			mustEqual(t, "status after it was lifted", tool(t, g), http.StatusOK)
		})
	}

	t.Run("the identity provider removes the user", func(t *testing.T) {
		track(t)
		g, a := signIn(t, st.statelessURL, alice)
		g = a.client.refresh(t, g.RefreshToken)
		mustEqual(t, "status of a refresh before", g.status, http.StatusOK)
		mustEqual(t, "status before", tool(t, g), http.StatusOK)
		before := len(st.audited("family.ended"))
		resp, _ := do(t, http.MethodDelete, st.issuer+"/users/alice", nil)
		mustEqual(t, "status of the removal", resp.StatusCode, http.StatusNoContent)
		if r := a.client.refresh(t, g.RefreshToken); r.status != http.StatusBadRequest || r.Error != "invalid_grant" {
			t.Errorf("the next refresh answered %d %s", r.status, r.Error)
		}
		if e := st.nextAudited(t, "family.ended", before); e["reason"] != "user_gone" {
			t.Errorf("the audit log says %v", e)
		}
		mustEqual(t, "status after the refresh", tool(t, g), http.StatusUnauthorized)
	})
}

// trySignIn is signIn of alice where the answer may be no.
func trySignIn(t *testing.T, mcpURL string) (grant, *attempt) {
	t.Helper()
	a, err := register(t, mcpURL).authorize(t, alice)
	if err != nil {
		t.Fatal(err)
	}
	if a.answer.Get("code") == "" {
		mustEqual(t, "error", a.answer.Get("error"), "access_denied")
		return grant{}, a
	}
	return a.redeem(t), a
}

// nextAudited waits for more than before entries of an event, which come through
// a pipe, and returns the one after those.
func (st *stack) nextAudited(t *testing.T, event string, before int) map[string]string {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if entries := st.audited(event); len(entries) > before {
			return entries[before]
		}
		if time.Now().After(deadline) {
			t.Fatalf("the audit log has no further %s", event)
		}
	}
}

// audited returns the audit entries of an event so far.
func (st *stack) audited(event string) []map[string]string {
	var out []map[string]string
	for line := range strings.Lines(st.logs()) {
		var record struct{ Audit map[string]string }
		if json.Unmarshal([]byte(line), &record) == nil && record.Audit["event"] == event {
			out = append(out, record.Audit)
		}
	}
	return out
}
