package outbound

import (
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

func credential(text string, served bool, files map[string]string) (*Credential, string) {
	c := &conf.Check{ReadFile: func(name string) ([]byte, error) {
		if content, ok := files[name]; ok {
			return []byte(content), nil
		}
		return nil, fs.ErrNotExist
	}}
	var f CredentialFile
	c.Decode([]byte(text), &f)
	out := f.Resolve(conf.Section{Check: c}, served, []string{"X-Auth-Request-User", ""})
	if c.Len() > 0 {
		return nil, c.Err().Error()
	}
	return out, ""
}

func TestCredential(t *testing.T) {
	files := map[string]string{
		"key": "s3cret\n", "empty": "\n", "lines": "a\nb", "word": "Bearer s3cret", "long": strings.Repeat("x", maxCredential+1), "space": " s3cret", "umlaut": "gehäim", "template": "<token>",
	}
	for text, want := range map[string]string{
		"{}":                                   "",
		"{file: key}":                          "Authorization: Bearer s3cret",
		"{file: key, scheme: Basic}":           "Authorization: Basic s3cret",
		"{file: key, header: x-api-key}":       "X-Api-Key: s3cret",
		"{file: word, header: X-Api-Key}":      "X-Api-Key: Bearer s3cret",
		"{file: key, toGateway: true}":         "Authorization: Bearer s3cret",
		"{header: X-Api-Key, toGateway: true}": "header: has no effect without",
		"{file: none}":                         "file: there is no such file",
		"{file: empty}":                        "file: the file is empty",
		"{file: lines}":                        "file: the file holds more than one line",
		"{file: word}":                         "file: the file holds a space",
		"{file: long}":                         "file: the file holds more than 2048 bytes",
		"{file: space}":                        "file: the file holds more than one line, or",
		"{file: umlaut}":                       "file: the file holds more than one line, or",
		"{file: template}":                     "file: ",
		"{file: key, scheme: Digest}":          "scheme: ",
		"{file: key, header: X-Api-Key, scheme: Basic}": "scheme: is for Authorization",
		"{file: key, header: X-Auth-Request-User}":      "header: X-Auth-Request-User has another meaning",
		"{file: key, header: Cookie}":                   "header: \"Cookie\" has a meaning of its own",
		"{file: key, header: Mcp-Name}":                 "header: \"Mcp-Name\" has a meaning of its own",
	} {
		c, problem := credential(text, false, files)
		got := problem
		if c != nil {
			got = c.Header + ": " + c.Value()
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if strings.Contains(problem, "s3cret") {
			t.Errorf("%s: the mistake shows the credential: %s", text, problem)
		}
	}
	if _, problem := credential("{file: key, toGateway: true}", true, files); !strings.Contains(problem, "toGateway: has no use beside serve") {
		t.Errorf("%q", problem)
	}
}

// What changed and cannot be used changes nothing, and nothing prints the credential.
func TestCredentialChanges(t *testing.T) {
	c, problem := credential("{file: key}", true, map[string]string{"key": "s3cret"})
	if c == nil {
		t.Fatal(problem)
	}
	if err := c.Set([]byte("a b")); err == nil || c.Value() != "Bearer s3cret" {
		t.Errorf("%v, %s", err, c.Value())
	}
	if err := c.Set([]byte("oth3r\r\n")); err != nil || c.Value() != "Bearer oth3r" {
		t.Errorf("%v, %s", err, c.Value())
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "c", c)
	if all := fmt.Sprintf("%v %+v %#v %s", c, c, c, c) + log.String(); strings.Contains(all, "oth3r") {
		t.Error(all)
	}
	c.Answered(true)
	if !c.Refused() {
		t.Error("not noted")
	}
	if c.Answered(false); c.Refused() {
		t.Error("still noted")
	}
}
