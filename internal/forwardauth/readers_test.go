//go:build e2e

package forwardauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Where a body is taken for evidence, the JSON readers of the languages that MCP
// servers are written in see the same operations in it (RS-HDR-09). Both
// programs have to be there: one that is missing is a failure.
func TestBodiesAsOtherReadersSeeThem(t *testing.T) {
	var bodies [][]byte
	var ours [][][2]string
	for _, body := range mutated(bodyCorpus()) {
		c, reason := parseBody([]byte(body))
		if reason != Allowed {
			continue
		}
		ops := [][2]string{}
		for _, op := range c.ops {
			ops = append(ops, [2]string{op.method, op.name})
		}
		bodies, ours = append(bodies, []byte(body)), append(ours, ops)
	}
	if len(bodies) < 5000 {
		t.Fatalf("only %d bodies are taken for evidence", len(bodies))
	}
	for _, program := range [][]string{{"node", "testdata/read.mjs"}, {"python3", "testdata/read.py"}} {
		t.Run(program[0], func(t *testing.T) {
			theirs := seenBy(t, program, bodies)
			for i, want := range ours {
				if !slices.Equal(theirs[i], want) {
					t.Errorf("%q is read as %q, by this service as %q", bodies[i], theirs[i], want)
				}
			}
		})
	}
}

// mutated returns the bodies, and each of them with each fragment put in at each
// place and with each byte left out.
func mutated(bodies []string) []string {
	fragments := []string{
		`"`, `\`, `,`, `:`, `{`, `}`, `[`, `]`, " ", "\n", "\x00", "\ufeff", "\u00a0", "\xff", "\xc0\x80", "\xed\xa0\x80", "0", "-", "1e9", "null", `\u0000`, `\u0061`, `\ud800`, `\ud83d\ude00`,
		`"name":"put",`, `"name":"put"`, `,"method":"tools/call"`, `"__proto__":{"method":"tools/call","name":"put"},`, `/*`, `*/`, `//`, "'", "NaN", `"NAME":"put",`, `"\u006eame":"put",`, `"x":{"name":"put"},`,
	}
	out := slices.Clone(bodies)
	for _, body := range bodies {
		if len(body) > 400 {
			continue
		}
		for i := range len(body) {
			for _, f := range fragments {
				out = append(out, body[:i]+f+body[i:])
			}
			out = append(out, body[:i]+body[i+1:])
		}
	}
	return out
}

// seenBy asks a program about all bodies at once.
func seenBy(t *testing.T, program []string, bodies [][]byte) [][][2]string {
	t.Helper()
	var in strings.Builder
	for _, body := range bodies {
		in.WriteString(base64.StdEncoding.EncodeToString(body) + "\n")
	}
	cmd := exec.CommandContext(t.Context(), program[0], program[1:]...)
	var fault bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(in.String()), &fault
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("not run: %s: %v %s", program[0], err, fault.String())
	}
	var all [][][2]string
	for line := range strings.Lines(string(text)) {
		var ops [][2]string
		if err := json.Unmarshal([]byte(line), &ops); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, ops)
	}
	if len(all) != len(bodies) {
		t.Fatalf("%d answers to %d bodies", len(all), len(bodies))
	}
	return all
}
