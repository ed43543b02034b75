package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
)

// What the command prints is what the service takes: the key on one stream, and
// an entry that holds no secret on the other.
func TestNewAPIKey(t *testing.T) {
	for _, args := range [][]string{{"ci"}, {"ci", "--scopes", "read,write", "--days", "30"}, {"ci", "--never-expires"}} {
		out, entry, err := call(t, "", append([]string{"new-api-key"}, args...)...)
		if err != nil || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, apikey.Prefix) {
			t.Fatalf("%v: %v %q", args, err, entry)
		}
		secret := strings.Split(strings.TrimSpace(out), "_")[2]
		keys, warnings, err := apikey.Parse([]byte("keys:\n"+entry), nil, apikey.Where{}, time.Now())
		if err != nil || len(warnings) > 0 || len(keys) != 1 || strings.Contains(entry, secret) {
			t.Errorf("%v: %v %v\n%s", args, err, warnings, entry)
		}
	}
}

func TestNewAPIKeyRefuses(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{nil, exitUsage, "what the key is called"},
		{[]string{"a b"}, exitFailed, "name"},
		{[]string{"ci: x"}, exitFailed, "YAML"},
		{[]string{"ci", "--scopes", ""}, exitFailed, "scopes"},
		{[]string{"ci", "--days", "0"}, exitUsage, "--days"},
		{[]string{"ci", "--days", "3", "--never-expires"}, exitUsage, "exclude"},
	} {
		out, entry, err := call(t, "", append([]string{"new-api-key"}, tt.args...)...)
		code := exitFailed
		if e, ok := errors.AsType[exitError](err); ok {
			code = e.code
		}
		if err == nil || out != "" || entry != "" || code != tt.code || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v, code %d, %q %q", tt.args, err, code, out, entry)
		}
	}
}
