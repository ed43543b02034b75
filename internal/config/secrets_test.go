package config

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A seed that can be guessed makes tokens that anyone can make.
func TestSeeds(t *testing.T) {
	random := func() string {
		b := make([]byte, 32)
		rand.Read(b)
		return string(b)
	}
	counting := make([]byte, 64)
	for i := range counting {
		counting[i] = byte(i)
	}
	for name, tt := range map[string]struct {
		content          string
		refused, doubted bool
	}{
		"zeros":               {strings.Repeat("\x00", 32), true, false},
		"one letter":          {strings.Repeat("s", 64), true, false},
		"two bytes in turn":   {strings.Repeat("ab", 24), true, false},
		"counting up":         {string(counting), false, true},
		"digits":              {"0123456789abcdef0123456789abcdef", false, true},
		"a phrase":            {"correct horse battery staple, and some more words", false, true},
		"a phrase without":    {"ThisIsTheSeedOfOurProductionClusterInEurope", false, true},
		"random, in base64":   {base64.StdEncoding.EncodeToString([]byte(random())) + "\n", false, true},
		"random, hexadecimal": {hex.EncodeToString([]byte(random())), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse([]byte(minimal+"keys: {source: seed, seedFiles: [it]}\n"), func(string) ([]byte, error) { return []byte(tt.content), nil })
			if (err != nil) != tt.refused {
				t.Fatalf("%v", err)
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "keys.seedFiles[0]: ") || strings.Contains(err.Error(), tt.content)) {
				t.Errorf("%v", err)
			}
			if err == nil && (len(c.Warnings) > 0) != tt.doubted {
				t.Errorf("warnings %v", c.Warnings)
			}
		})
	}
}

func TestPlaceholders(t *testing.T) {
	for _, value := range []string{"${CLIENT_SECRET}", "$CLIENT_SECRET", "$(CLIENT_SECRET)", "{{ .Values.secret }}", "<client-secret>", "%CLIENT_SECRET%", "changeme", "REPLACE_ME", "your-client-secret"} {
		text := "provider: {name: oidc, issuerURL: 'https://idp.example', clientID: id, clientSecret: '" + value + "'}\n" + proxy
		if _, err := Parse([]byte(text), nil); err == nil || !strings.HasPrefix(err.Error(), "provider.clientSecret: ") {
			t.Errorf("%s: %v", value, err)
		}
		text = "provider: {name: oidc, issuerURL: 'https://idp.example', clientID: '" + value + "', clientSecret: x}\n" + proxy
		if _, err := Parse([]byte(text), nil); err == nil || !strings.Contains(err.Error(), "provider.clientID: ") {
			t.Errorf("client id %s: %v", value, err)
		}
	}
	for key, text := range map[string]string{
		"audit.file":                 "audit: {file: '${DIR}/audit.log'}",
		"clients[0].secret":          "clients: [{id: a, redirectURIs: ['https://a.example/cb'], secret: '${THE_SECRET_OF_THE_CLIENT}'}]",
		"clients[0].id":              "clients: [{id: '${ID}', redirectURIs: ['https://a.example/cb']}]",
		"branding.name":              "branding: {name: '${COMPANY}'}",
		"clients[0].redirectURIs[0]": "clients: [{id: a, redirectURIs: ['https://${HOST}/cb']}]",
	} {
		if _, err := Parse([]byte(minimal+text+"\n"), nil); err == nil || !strings.HasPrefix(err.Error(), key+": ") || !strings.Contains(err.Error(), "variables") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A secret that every user of the machine may read gets a warning; what is no
// secret gets none.
func TestReadableSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	write("open", marker, 0o644)
	write("closed", marker, 0o640)
	for name, tt := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"open":            {"clientSecretFile: open", 0o644, "provider.clientSecretFile: every user"},
		"closed":          {"clientSecretFile: closed", 0o644, ""},
		"in the open":     {"clientSecret: abc", 0o644, "every user of this machine may read this file, which holds a secret"},
		"in a closed one": {"clientSecret: abc", 0o600, ""},
	} {
		t.Run(name, func(t *testing.T) {
			write("config.yaml", "provider: {name: oidc, issuerURL: 'https://idp.example', clientID: id, "+tt.text+"}\n"+proxy, tt.mode)
			c, err := Load(filepath.Join(dir, "config.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Warnings.Error(); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("warnings %q, want %q", got, tt.want)
			}
		})
	}
}
