//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestSystemdUnit has systemd read the unit of docs/linux.md.
func TestSystemdUnit(t *testing.T) {
	track(t)
	analyze := program(t, "systemd-analyze", "/usr/bin/systemd-analyze")
	text, err := os.ReadFile(filepath.Join(repository, "docs", "linux.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?ms)^```ini\n(.*?)^```$").FindSubmatch(text)
	if m == nil {
		t.Fatal("docs/linux.md shows no unit")
	}
	check := func(unit string) (string, error) { return verifyUnit(t, analyze, unit) }
	unit := substitute(t, string(m[1]), "/usr/local/bin/mcp-forward-auth", serviceBinary(t))
	if out, err := check(unit); err != nil || strings.Contains(out, "mcp-forward-auth.service") {
		t.Errorf("%v\n%s", err, out)
	}
	memory := func(key string) int64 {
		m := regexp.MustCompile(`(?m)^` + key + `=(\d+)(M|MiB)$`).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("the unit has no %s in mebibytes", key)
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if limit, most := memory("Environment=GOMEMLIMIT"), memory("MemoryMax"); limit < most*8/10 || limit > most*95/100 {
		t.Errorf("GOMEMLIMIT is %d MiB of %d", limit, most)
	}
	// What is read-only for the service, and where the text says that the audit log may be.
	logs := regexp.MustCompile(`(?m)^LogsDirectory=(\S+)$`).FindStringSubmatch(unit)
	if logs == nil || !strings.Contains(unit, "ProtectSystem=strict\n") || !strings.Contains(string(text), "`audit.file: /var/log/"+logs[1]+"/") {
		t.Error("the page names no place for audit.file that the unit makes writable")
	}
	if out, _ := check(strings.Replace(unit, "ProtectSystem=strict", "ProtectSytem=strict", 1)); !strings.Contains(out, "ProtectSytem") {
		t.Errorf("a slip is not noticed: %s", out)
	}
}

// verifyUnit has systemd read a unit.
func verifyUnit(t *testing.T, analyze, unit string) (said string, err error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", write(t, "mcp-forward-auth.service", unit)).CombinedOutput()
	return string(out), err
}

// TestSystemdUnitOfBridge has systemd read the unit of docs/stdio.md.
func TestSystemdUnitOfBridge(t *testing.T) {
	track(t)
	analyze := program(t, "systemd-analyze", "/usr/bin/systemd-analyze")
	text, err := os.ReadFile(filepath.Join(repository, "docs", "stdio.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?ms)^```ini\n(.*?)^```$").FindSubmatch(text)
	if m == nil {
		t.Fatal("docs/stdio.md shows no unit")
	}
	unit := substitute(t, string(m[1]), "/usr/local/bin/mcp-forward-auth", serviceBinary(t))
	if out, err := verifyUnit(t, analyze, unit); err != nil || strings.Contains(out, "mcp-forward-auth.service") {
		t.Errorf("%v\n%s", err, out)
	}
}
