package kuadrant

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewaytest"
)

func newSigner(t *testing.T, now *time.Time, servers ...Server) (*Signer, *ecdsa.PublicKey, *bytes.Buffer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	log := new(bytes.Buffer)
	return &Signer{
		Settings: Settings{clientauth.NewKey(key, "ES256", ""), servers}, Issuer: "https://mcp.example.com",
		Log: slog.New(slog.NewTextHandler(log, nil)), Now: func() time.Time { return *now },
	}, &key.PublicKey, log
}

func TestValue(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, public, _ := newSigner(t, &now, Server{"team/notes", "notes_"}, Server{"team/all", ""}, Server{"team/notes-old", "notes_old_"})
	for name, tt := range map[string]struct {
		shown Shown
		want  map[string]map[string][]string
	}{
		"nothing": {Shown{}, map[string]map[string][]string{
			"tools":     {"team/notes": {}, "team/all": {}, "team/notes-old": {}},
			"prompts":   {"team/notes": {}, "team/all": {}, "team/notes-old": {}},
			"resources": {"team/notes": {}, "team/all": {}, "team/notes-old": {}},
		}},
		"everything": {Shown{AllTools: true, AllPrompts: true, AllResources: true}, map[string]map[string][]string{}},
		"some": {Shown{Tools: []string{"notes_read", "mail", "notes_old_x"}, Prompts: []string{"notes_p"}, AllResources: true}, map[string]map[string][]string{
			"tools":   {"team/notes": {"read", "old_x"}, "team/all": {"notes_read", "mail", "notes_old_x"}, "team/notes-old": {"x"}},
			"prompts": {"team/notes": {"p"}, "team/all": {"notes_p"}, "team/notes-old": {}},
		}},
	} {
		if got := gatewaytest.Kuadrant(t, public, s.Value(name, func() Shown { return tt.shown }), now); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A token is made again before it ends, and not for each request.
func TestRenewal(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, public, _ := newSigner(t, &now, Server{"a", ""})
	made := 0
	value := func() string { return s.Value(1, func() Shown { made++; return Shown{Tools: []string{"t"}} }) }
	first := value()
	for range 100 {
		now = now.Add(time.Minute)
		v := value()
		if gatewaytest.Kuadrant(t, public, v, now.Add(lifetime/2-time.Second)) == nil {
			t.Fatal("a token that ends too soon")
		}
	}
	if made < 30 || made > 51 {
		t.Errorf("made %d times", made)
	}
	if gatewaytest.Kuadrant(t, public, first, now) != nil {
		t.Error("the reader takes one that has ended")
	}
	for i := range 3 * maxRemembered {
		s.Value(100+i, func() Shown { return Shown{} })
	}
	if len(s.last) > maxRemembered {
		t.Errorf("%d are remembered", len(s.last))
	}
}

// More names than a header can hold show nothing, and the log says why.
func TestTooLarge(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, public, log := newSigner(t, &now, Server{"a", ""})
	names := make([]string, 2000)
	for i := range names {
		names[i] = strings.Repeat("n", 30)
	}
	v := s.Value(1, func() Shown { return Shown{Tools: names} })
	if v != "-" || gatewaytest.Kuadrant(t, public, v, now) != nil || !strings.Contains(log.String(), "more than 32768 bytes") {
		t.Errorf("%.40s, %s", v, log)
	}
}

func pemOf(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// resolve reads the section out of YAML.
func resolve(text string, files map[string]string) (Settings, error) {
	c := &conf.Check{ReadFile: func(name string) ([]byte, error) {
		if content, ok := files[name]; ok {
			return []byte(content), nil
		}
		return nil, fs.ErrNotExist
	}}
	var f File
	c.Decode([]byte(text), &f)
	s := f.Resolve(conf.Section{Check: c})
	if c.Len() > 0 {
		return Settings{}, c.Err()
	}
	return s, nil
}

// What the configuration may say.
func TestResolve(t *testing.T) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	files := map[string]string{"p256": pemOf(t, p256), "p384": pemOf(t, p384), "rsa": pemOf(t, rsaKey), "garbage": "garbage"}
	for text, want := range map[string]string{
		"{}": "",
		"{signingKeyFile: p256, servers: [{name: a}, {name: b, prefix: b_}]}": "",
		"{signingKeyFile: p256}":                                  "servers: is required",
		"{servers: [{name: a}]}":                                  "servers: has no effect without",
		"{signingKeyFile: p256, servers: [{prefix: a}]}":          "servers[0].name: is required",
		"{signingKeyFile: p256, servers: [{name: a}, {name: a}]}": "servers[1].name: \"a\" is listed twice",
		"{signingKeyFile: p384, servers: [{name: a}]}":            "signingKeyFile: the key must be one for P-256",
		"{signingKeyFile: rsa, servers: [{name: a}]}":             "signingKeyFile: the key must be one for P-256",
		"{signingKeyFile: garbage, servers: [{name: a}]}":         "signingKeyFile: holds no private key",
		"{signingKeyFile: none, servers: [{name: a}]}":            "signingKeyFile: there is no such file",
	} {
		settings, err := resolve(text, files)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: %v", text, err)
		}
		if settings.On() != (err == nil && text != "{}") {
			t.Errorf("%s: on: %v", text, settings.On())
		}
	}
}
